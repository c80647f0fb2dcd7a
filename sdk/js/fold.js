'use strict';
// A bounded table of different calls and how often each was made since it was last told of.

const { callLine } = require('./line');

const LIMIT = 4096;
const COUNT_MAX = 1000000000;

/** One different call. `count` calls of it have not been told yet. */
class Entry {
  constructor(identity, call) {
    this.identity = identity;
    this.call = call;
    this.count = 0;
    this.told = false;
    this.add(call);
  }

  add(call) {
    if (this.count === 0) {
      this.first = call.began;
      this.latency = call.latency;
      this.requestId = call.requestId;
    } else if (call.latency > this.latency) this.latency = call.latency;
    this.last = call.began;
    this.count += 1;
  }
}

/** Entries that wait to be told, and entries that have been told, of which the oldest makes room. */
class Fold {
  constructor() {
    this.table = new Map();
    this.waiting = new Set();
    this.idle = new Set();
  }

  /** One more call of an entry of the table. */
  add(entry, call) {
    if (entry.count === 0) {
      this.idle.delete(entry);
      this.waiting.add(entry);
    }
    entry.add(call);
  }

  /** Takes a new entry in, in the place of the oldest that has nothing to tell; whether there was room. */
  keep(entry) {
    if (this.table.size >= LIMIT) {
      const oldest = this.idle.values().next().value;
      if (oldest === undefined) return false;
      this.idle.delete(oldest);
      this.table.delete(oldest.identity);
    }
    this.table.set(entry.identity, entry);
    (entry.count ? this.waiting : this.idle).add(entry);
    return true;
  }

  /** Tries to send an entry's line. True: it is settled, told or lost; false: it waits on. */
  tell(entry, shim) {
    let data;
    try {
      data = callLine(entry);
      if (data !== null && !shim.sender.offer(data)) return false;
    } catch (error) {
      // Not thrown: whoever catches it would count the call as lost once more.
      this.settle(entry, shim, 'error');
      shim.mistake();
      return true;
    }
    this.settle(entry, shim, data === null ? 'long' : null);
    return true;
  }

  settle(entry, shim, reason) {
    if (reason !== null) shim.lose(reason, entry.count);
    entry.count = 0;
    entry.told = true;
    if (this.waiting.delete(entry)) this.idle.add(entry);
  }

  /** Empties the table; how many calls had not been told of. */
  forget() {
    let untold = 0;
    for (const entry of this.waiting) untold += entry.count;
    this.table.clear();
    this.waiting.clear();
    this.idle.clear();
    return untold;
  }
}

module.exports = { Fold, Entry, LIMIT, COUNT_MAX };
