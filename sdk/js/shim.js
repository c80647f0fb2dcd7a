'use strict';
// The one shim of this process (or worker): its settings, its table, its timer and its end.

const fs = require('fs');
const { performance } = require('perf_hooks');
const { Fold, Entry, COUNT_MAX } = require('./fold');
const { end, identity } = require('./call');
const { outcome } = require('./outcome');
const { Sender, addressOf, offFile } = require('./sender');
const line = require('./line');
const { version } = require('./package.json');

// Taken now: programs and their tests replace these.
const { setInterval: repeat } = globalThis;
const { existsSync } = fs;
const now = performance.now.bind(performance);

const DEFAULT_SOCKET = '/run/rolecall/calls.sock';
const MISTAKES = 10;
const GOODBYE = 200;

/** Counts calls and tells of them. */
class Shim {
  constructor(environ = process.env) {
    const setting = environ.ROLECALL_CALLS_SOCKET || DEFAULT_SOCKET;
    const address = addressOf(setting);
    this.offFile = offFile(setting);
    this.every = flushTime(environ.ROLECALL_CALLS_FLUSH_MS);
    // `off`: by the environment or an address that is none. `broken`: by mistakes. `paused`: by the file.
    this.off = environ.ROLECALL_CALLS === 'off' || address === null;
    this.broken = false;
    this.paused = false;
    this.started = false;
    this.ended = false;
    this.mistakes = 0;
    this.lost = {};
    this.fold = new Fold();
    this.sdk = ['aws-sdk', 'unknown'];
    this.sender = new Sender(address, () => line.hello(this.sdk[0], this.sdk[1], version));
  }

  /** Whether a call that begins now is to be looked at. Of a shim that broke, calls are only counted. */
  wanted() {
    if (!this.started) this.start();
    if (this.broken) this.lose('off', 1);
    return !(this.broken || this.paused || this.off);
  }

  /** Counts a call that is over; tells of it at once if it is the first of its kind, or the first denial. */
  record(call) {
    if (this.paused || this.off) return;
    if (this.broken) {
      this.lose('off', 1);
      return;
    }
    end(call);
    const key = identity(call);
    const entry = this.fold.table.get(key);
    if (entry === undefined) {
      this.recordNew(key, call);
      return;
    }
    const urgent = !entry.told && isDenial(call);
    this.fold.add(entry, call);
    if (urgent || entry.count >= COUNT_MAX) this.fold.tell(entry, this);
  }

  recordNew(key, call) {
    const entry = new Entry(key, call);
    const told = this.fold.tell(entry, this);
    // A mistake in telling may have been the last one that is allowed.
    if (!this.broken && !this.fold.keep(entry) && !told) this.lose('full', 1);
  }

  lose(reason, count) {
    if (count > 0) this.lost[reason] = (this.lost[reason] || 0) + count;
  }

  /** One of our own. After ten the shim is off, and what it had not told of is lost. */
  mistake(lostCall = false) {
    this.mistakes += 1;
    if (lostCall) this.lose(this.broken ? 'off' : 'error', 1);
    if (this.mistakes < MISTAKES || this.broken) return;
    this.broken = true;
    this.lose('off', this.fold.forget());
  }

  /** With the first call: the timer, which keeps no process alive, and what is done at the end. */
  start() {
    if (this.started || this.off) return;
    this.started = true;
    this.lookForOffFile();
    repeat(() => quietly(() => this.turn()), this.every).unref();
    process.on('exit', () => quietly(() => this.end()));
  }

  turn() {
    try {
      this.lookForOffFile();
      this.flush();
    } catch (error) {
      this.mistake();
    }
  }

  lookForOffFile() {
    this.paused = existsSync(this.offFile);
  }

  /** Tells what waits and what was lost, until the socket takes no more; whether nothing is left. */
  flush() {
    return this.paused || (this.flushCounts() && this.tellLosses('Losses'));
  }

  flushCounts() {
    for (const entry of this.fold.waiting) if (!this.fold.tell(entry, this)) return false;
    return true;
  }

  tellLosses(type) {
    if (type === 'Losses' && Object.keys(this.lost).length === 0) {
      // Also delivers what is left of a line that went half.
      return this.sender.unsent.length === 0 || this.sender.ready();
    }
    if (!this.sender.offer(line.losses(type, this.lost))) return false;
    this.lost = {};
    return true;
  }

  /** The process ends: what is counted is sent, within a fifth of a second, and then `Bye`. */
  end() {
    if (!this.started || this.ended || this.off) return;
    this.ended = true;
    this.sayGoodbye();
  }

  sayGoodbye() {
    this.lookForOffFile();
    if (this.paused) return;
    const until = now() + GOODBYE;
    this.sender.again = 0;
    const steps = [() => this.flushCounts(), () => this.tellLosses('Bye'), () => this.sender.ready()];
    while (steps.length) {
      if (this.succeeds(steps[0])) steps.shift();
      else if (this.sender.socket === null || now() >= until) return;
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }

  succeeds(step) {
    try {
      return step();
    } catch (error) {
      this.mistake();
      return false;
    }
  }
}

/** For what the event loop calls: what is thrown there ends the program. */
function quietly(part) {
  try {
    part();
  } catch (error) {
    // Nobody is left to be told.
  }
}

const isDenial = (call) => outcome(call.status, call.code || call.exception) === 'denied';

/** `ROLECALL_CALLS_FLUSH_MS`; the default for what is no number of its range. */
function flushTime(setting) {
  const time = /^\d+$/.test(setting || '') ? Number(setting) : 0;
  return time >= 100 && time <= 60000 ? time : 10000;
}

module.exports = { Shim };
