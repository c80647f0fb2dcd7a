"""The stream to the agent. Nothing here ever waits.

`_socket` in the place of `socket`: a program may have replaced the latter by one that switches to other work.
"""

import _socket
import os
import time

NOSIGNAL = getattr(_socket, "MSG_NOSIGNAL", 0)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class Sender:
    """Takes whole lines or nothing. Keeps no more than what a new listener is told first and one line that went half."""

    def __init__(self, address, greeting):
        self.address = address
        self.greeting = greeting
        self.socket = None
        self.unsent = b""
        # The line that `unsent` is the rest of; the next listener must get it from its beginning.
        self.half = b""
        self.pause = FIRST_PAUSE
        self.again = 0.0

    def offer(self, line):
        """Sends a line if the socket takes it now; whether it did. One that went half is as good as sent."""
        if not self.ready():
            return False
        sent = self.push(line)
        if sent <= 0:
            return False
        if sent < len(line):
            self.unsent, self.half = line[sent:], line
        return True

    def ready(self):
        """Whether there is a connection with nothing left to say."""
        if self.socket is None and not self.connect():
            return False
        if self.unsent:
            sent = self.push(self.unsent)
            if sent < 0:
                return False
            self.unsent = self.unsent[sent:]
            if self.unsent:
                return False
            self.half = b""
            self.pause = FIRST_PAUSE
        return True

    def push(self, data):
        """How many bytes the socket took; -1 if the connection is gone."""
        try:
            return self.socket.send(data, NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.lose()
            return -1

    def connect(self):
        """Tries to reach the agent, unless it was tried too short a time ago."""
        now = time.monotonic()
        if now < self.again:
            return False
        try:
            self.socket = self.opened()
        except OSError:
            self.socket = None
        if self.socket is None:
            self.wait(now)
            return False
        self.unsent = self.greeting() + self.half
        return True

    def opened(self):
        family, target = self.address
        stream = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            stream.setblocking(False)
            stream.connect(target)
        except BlockingIOError:
            # TCP is on its way and takes bytes when it is there; a unix socket's queue is full, which is a refusal.
            if family == getattr(_socket, "AF_UNIX", None):
                stream.close()
                return None
        except OSError:
            stream.close()
            raise
        return stream

    def lose(self):
        """The connection is gone. What went half is said again, from its beginning."""
        self.close()
        self.wait(time.monotonic())

    def wait(self, now):
        self.again = now + self.pause
        self.pause = min(self.pause * 2, LONGEST_PAUSE)

    def close(self):
        stream, self.socket, self.unsent = self.socket, None, b""
        if stream is not None:
            stream.close()


def address_of(setting):
    """The address that `ROLECALL_CALLS_SOCKET` names; nothing for one that is not of this machine."""
    if setting.startswith("tcp://"):
        host, _, port = setting[len("tcp://"):].rpartition(":")
        if host == "127.0.0.1" and port.isdigit() and 0 < int(port) < 65536:
            return _socket.AF_INET, (host, int(port))
        return None
    return (_socket.AF_UNIX, setting) if hasattr(_socket, "AF_UNIX") else None


def off_file(setting):
    """The file that switches every shim off for as long as it is there."""
    folder = "/run/rolecall" if setting.startswith("tcp://") else os.path.dirname(setting)
    return os.path.join(folder, "calls.off")
