'use strict';
// The stream to the agent. Nothing here ever waits.
// Lines are written straight to the socket's descriptor: so a line is on its way before the call returns to the
// program, and at the end of the process, when the event loop turns no more.

const fs = require('fs');
const net = require('net');
const path = require('path');
const { performance } = require('perf_hooks');

// Taken now: programs and their tests replace these.
const { writeSync } = fs;
const { connect } = net;
const now = performance.now.bind(performance);

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60000;
const BUFFER = 65536; // where there is no descriptor to write to
const EMPTY = Buffer.alloc(0);
const NOT_NOW = new Set(['EAGAIN', 'EWOULDBLOCK', 'EINTR']);

/** Takes whole lines or nothing. Keeps no more than what a new listener is told first and one line that went half. */
class Sender {
  constructor(address, greeting) {
    this.address = address;
    this.greeting = greeting;
    this.socket = null;
    this.unsent = EMPTY;
    // The line that `unsent` is the rest of; the next listener must get it from its beginning.
    this.half = EMPTY;
    this.pause = FIRST_PAUSE;
    this.again = 0;
  }

  /** Sends a line if the socket takes it now; whether it did. One that went half is as good as sent. */
  offer(line) {
    if (!this.ready()) return false;
    const sent = this.push(line);
    if (sent <= 0) return false;
    if (sent < line.length) {
      this.unsent = line.subarray(sent);
      this.half = line;
    }
    return true;
  }

  /** Whether there is a connection with nothing left to say. */
  ready() {
    if (this.socket === null && !this.connect()) return false;
    if (this.unsent.length) {
      const sent = this.push(this.unsent);
      if (sent < 0) return false;
      this.unsent = this.unsent.subarray(sent);
      if (this.unsent.length) return false;
      this.half = EMPTY;
      this.pause = FIRST_PAUSE;
    }
    return true;
  }

  /** How many bytes the socket took; -1 if the connection is gone. */
  push(data) {
    const { socket } = this;
    // Asked for each time: a descriptor that was closed may be another file's by now.
    const handle = socket._handle;
    if (socket.destroyed || !handle) return this.lose(socket);
    if (!(handle.fd >= 0)) {
      if (socket.writableLength + data.length > BUFFER) return 0;
      socket.write(data);
      return data.length;
    }
    try {
      return writeSync(handle.fd, data, 0, data.length);
    } catch (error) {
      if (NOT_NOW.has(error.code)) return 0;
      return this.lose(socket);
    }
  }

  /** Tries to reach the agent, unless it was tried too short a time ago. */
  connect() {
    const time = now();
    if (time < this.again) return false;
    const socket = connect(this.address);
    this.socket = socket;
    const gone = () => {
      try {
        this.lose(socket);
      } catch (error) {
        // What is thrown here would end the program.
      }
    };
    socket.on('error', gone);
    socket.on('close', gone);
    socket.unref();
    socket.resume(); // Nobody answers; but so the end is noticed.
    this.unsent = Buffer.concat([this.greeting(), this.half]);
    return true;
  }

  /** The connection is gone. What went half is said again, from its beginning. */
  lose(socket) {
    if (this.socket !== socket) return -1;
    this.socket = null;
    this.unsent = EMPTY;
    this.again = now() + this.pause;
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    socket.destroy();
    return -1;
  }
}

/** The address that `ROLECALL_CALLS_SOCKET` names; null for one that is not of this machine. */
function addressOf(setting) {
  if (!setting.startsWith('tcp://')) return { path: setting };
  const found = /^tcp:\/\/127\.0\.0\.1:(\d{1,5})$/.exec(setting);
  const port = found ? Number(found[1]) : 0;
  return port > 0 && port < 65536 ? { host: '127.0.0.1', port } : null;
}

/** The file that switches every shim off for as long as it is there. */
const offFile = (setting) =>
  path.join(setting.startsWith('tcp://') ? '/run/rolecall' : path.dirname(setting), 'calls.off');

module.exports = { Sender, addressOf, offFile };
