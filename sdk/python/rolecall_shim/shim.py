"""The one shim of this process: its settings, its table, its thread, and its end.

Everything that touches the table holds `lock`, for microseconds. It is one of `_thread`'s: programs replace those of
`threading`. It may be taken again by its own thread, as a signal's handler or a finalizer may make a call.
"""

import _thread
import atexit
import os
import sys
import time

from rolecall_shim import VERSION, line, parameters
from rolecall_shim.fold import COUNT_MAX, Entry, Fold
from rolecall_shim.outcome import outcome
from rolecall_shim.sender import Sender, address_of, off_file

DEFAULT_SOCKET = "/run/rolecall/calls.sock"
MISTAKES = 10
GOODBYE = 0.2


class Shim:
    """Counts calls and tells of them. `record` is the only thing that a call does here."""

    def __init__(self, environ=os.environ):
        setting = environ.get("ROLECALL_CALLS_SOCKET") or DEFAULT_SOCKET
        self.address = address_of(setting)
        self.off_file = off_file(setting)
        self.flush_seconds = flush_seconds(environ.get("ROLECALL_CALLS_FLUSH_MS"))
        # `off`: by the environment or an address that is none. `broken`: by mistakes. `paused`: by the file.
        self.off = environ.get("ROLECALL_CALLS") == "off" or self.address is None
        self.start_anew()

    def start_anew(self):
        """As a process starts, or a child after a fork: what the parent counted is the parent's to tell."""
        self.lock = _thread.RLock()
        self.fold = Fold()
        self.lost = {}
        self.mistakes = 0
        self.broken = False
        self.paused = False
        self.started = False
        self.ended = False
        self.sender = Sender(self.address, greeting)

    def after_fork(self):
        """In the child. The parent's connection is the parent's: only this process's end of it is closed."""
        try:
            self.sender.close()
        finally:
            self.start_anew()

    def wanted(self):
        """Whether a call that begins now is to be looked at. Of a shim that broke, calls are only counted."""
        if self.broken:
            with self.lock:
                self.lose("off", 1)
        return not (self.broken or self.paused or self.off)

    def record(self, call, began, latency, request_id, id_member):
        """Counts a call; tells of it at once if it is the first of its kind."""
        if not self.started:
            self.start()
        if self.paused or self.off:
            return
        with self.lock:
            if self.broken:
                self.lose("off", 1)
                return
            fold = self.fold
            entry = fold.table.get(call)
            if entry is None:
                self.record_new(call, began, latency, request_id, id_member)
                return
            fold.add(entry, began, latency, request_id, id_member)
            if entry.count >= COUNT_MAX or (not entry.told and self.is_denial(call)):
                fold.tell(entry, self.sender, self.lost, self.mistake)

    def record_new(self, call, began, latency, request_id, id_member):
        """A call that is not in the table, or not in this form: what may not be told of it is taken out now."""
        told = parameters.bounded(call.told)
        if told != call.told:
            call = call._replace(told=told)
            entry = self.fold.table.get(call)
            if entry is not None:
                self.fold.add(entry, began, latency, request_id, id_member)
                return
        entry = Entry(call)
        entry.add(began, latency, request_id, id_member)
        told = self.fold.tell(entry, self.sender, self.lost, self.mistake)
        if not self.fold.keep(entry) and not told:
            self.lose("full", 1)

    @staticmethod
    def is_denial(call):
        return outcome(call.status, call.code or call.exception) == "denied"

    def lose(self, reason, count):
        self.lost[reason] = self.lost.get(reason, 0) + count

    def mistake(self, lost_call=False):
        """One of our own. After ten the shim is off, and what it had not told of is lost."""
        try:
            with self.lock:
                self.mistakes += 1
                if lost_call:
                    self.lose("off" if self.broken else "error", 1)
                if self.mistakes >= MISTAKES and not self.broken:
                    self.broken = True
                    self.lose("off", self.fold.forget())
        except Exception:
            self.off = True

    def start(self):
        """With the first call: the thread that flushes, and what is done at the end. Never at import, as a fork may follow."""
        with self.lock:
            if self.started or self.off:
                return
            self.started = True
            self.look_for_off_file()
            end_with_multiprocessing(self.end)
            try:
                _thread.start_new_thread(self.flush_for_ever, (self.lock,))
            except RuntimeError:
                pass  # Threads may be forbidden here. First sights are told all the same, and counts at the end.

    def flush_for_ever(self, lock):
        """The thread. A fork gives the child a new lock, so a thread knows by the lock whether it is still wanted."""
        pause = _thread.allocate_lock()
        pause.acquire()
        while lock is self.lock and not self.ended:
            pause.acquire(True, self.flush_seconds)
            try:
                self.look_for_off_file()
                self.flush()
            except Exception:
                self.mistake()

    def look_for_off_file(self):
        self.paused = os.path.exists(self.off_file)

    def flush(self):
        """Tells what waits and what was lost, until the socket takes no more; whether nothing is left."""
        if self.paused:
            return True
        if not self.flush_counts():
            return False
        with self.lock:
            return self.tell_losses("Losses")

    def flush_counts(self):
        with self.lock:
            waiting = list(self.fold.waiting.values())
        for entry in waiting:
            # One at a time: no call waits for the whole table.
            with self.lock:
                if entry.count and not self.fold.tell(entry, self.sender, self.lost, self.mistake):
                    return False
        return True

    def tell_losses(self, kind):
        if not self.lost and kind == "Losses":
            # Also delivers what is left of a line that went half.
            return not self.sender.unsent or self.sender.ready()
        if not self.sender.offer(line.losses(kind, self.lost)):
            return False
        self.lost = {}
        return True

    def end(self):
        """The process ends: what is counted is sent, within a fifth of a second, and then `Bye`."""
        try:
            if self.started and not self.ended and not self.off:
                self.ended = True
                self.say_goodbye()
        except Exception:
            pass

    def say_goodbye(self):
        self.look_for_off_file()
        if self.paused:
            return
        until = time.monotonic() + GOODBYE
        self.sender.again = 0.0
        steps = [self.flush_counts, lambda: self.tell_losses("Bye"), self.sender.ready]
        while steps:
            try:
                done = steps[0]()
            except Exception:
                self.mistake()
                done = False
            if done:
                steps.pop(0)
            elif self.sender.socket is None or time.monotonic() >= until:
                return
            else:
                time.sleep(0.002)


def flush_seconds(setting):
    """`ROLECALL_CALLS_FLUSH_MS` in seconds; the default for what is no number of its range."""
    if setting and setting.isdigit() and 100 <= int(setting) <= 60000:
        return int(setting) / 1000.0
    return 10.0


def greeting():
    """`Hello`, as things are now: the process may be a child since."""
    sdk = sys.modules.get("botocore")
    return line.hello("botocore", str(getattr(sdk, "__version__", "unknown")), VERSION, os.getpid())


def end_with_multiprocessing(end):
    """Children of `multiprocessing` end without `atexit`; they have finalizers of their own."""
    process = sys.modules.get("multiprocessing.process")
    finalizers = sys.modules.get("multiprocessing.util")
    if process is not None and finalizers is not None and process.parent_process() is not None:
        finalizers.Finalize(None, end, exitpriority=0)


SHIM = Shim()
if not SHIM.off:
    atexit.register(SHIM.end)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=SHIM.after_fork)
