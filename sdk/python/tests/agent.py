"""An agent for tests: a unix socket that collects lines, and a botocore whose transport answers by itself."""

import json
import os
import shutil
import socket
import tempfile
import threading
import time
import unittest

os.environ.pop("ROLECALL_CALLS", None)
os.environ["ROLECALL_CALLS_SOCKET"] = "/nonexistent/rolecall-test.sock"
os.environ.update(
    AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY="canary-secret", AWS_SESSION_TOKEN="canary-token",
    AWS_DEFAULT_REGION="eu-central-1", AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/nonexistent",
    AWS_SHARED_CREDENTIALS_FILE="/nonexistent",
)  # fmt: skip

import rolecall_shim.start  # noqa: E402,F401
import botocore.awsrequest  # noqa: E402
import botocore.config  # noqa: E402
import botocore.session  # noqa: E402

from rolecall_shim import hook  # noqa: E402
from rolecall_shim.shim import Shim  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(HERE)
CONFORMANCE = os.path.join(PACKAGE, "..", "..", "conformance", "calls")


class Agent:
    """Listens, and keeps every line. `read=False`: accepts and never reads."""

    def __init__(self, path, read=True):
        self.path, self.read = path, read
        self.lines, self.raw, self.streams, self.threads = [], b"", [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.start(self.accept)

    def start(self, *run):
        thread = threading.Thread(target=run[0], args=run[1:], daemon=True)
        thread.start()
        self.threads.append(thread)

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            self.streams.append(stream)
            if self.read:
                self.start(self.collect, stream)

    def collect(self, stream):
        rest = b""
        while True:
            try:
                data = stream.recv(65536)
            except OSError:
                data = b""
            if not data:
                break
            self.raw += data
            *whole, rest = (rest + data).split(b"\n")
            self.lines.extend(json.loads(line) for line in whole)
            assert all(len(line) <= 8192 for line in whole)
        stream.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for stream in self.streams:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            stream.close()
        for thread in self.threads:
            thread.join(5)
        os.unlink(self.path)

    def of(self, kind):
        return [line for line in list(self.lines) if line["Type"] == kind]

    def counted(self):
        """Calls told of and calls lost."""
        told = sum(line.get("Count", 1) for line in self.of("ApiCall"))
        lost = sum(sum(line["Lost"].values()) for line in self.of("Losses") + self.of("Bye"))
        return told, lost

    def wait(self, true, seconds=5):
        until = time.monotonic() + seconds
        while not true() and time.monotonic() < until:
            time.sleep(0.005)
        assert true(), self.lines[-3:]


class Case(unittest.TestCase):
    """Each test has a folder, and a shim of its own in the hook."""

    flush = "60000"

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rolecall-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "calls.sock")
        self.use()

    def use(self, **environ):
        before = hook.SHIM
        settings = {"ROLECALL_CALLS_SOCKET": self.path, "ROLECALL_CALLS_FLUSH_MS": self.flush}
        settings.update(environ)
        hook.SHIM = self.shim = Shim(settings)
        self.addCleanup(self.restore, before, self.shim)

    def restore(self, before, mine):
        mine.ended = True
        mine.sender.close()
        hook.SHIM = before

    def agent(self, read=True):
        agent = Agent(self.path, read)
        self.addCleanup(lambda: agent.listener.fileno() >= 0 and agent.close())
        return agent


SESSION = botocore.session.get_session()


class Body:
    def __init__(self, data):
        self.data = data

    def stream(self):
        return iter([self.data])


def client(service="dynamodb", status=200, body=b"{}", error=None, headers=None):
    """A client of the real botocore whose requests are answered before they are sent."""
    made = SESSION.create_client(service, config=botocore.config.Config(retries={"max_attempts": 0}))
    headers = headers or {"x-amzn-RequestId": "R1"}

    def answer(request, **_):
        if error is not None:
            raise error
        return botocore.awsrequest.AWSResponse(request.url, status, headers, Body(body))

    made.meta.events.register("before-send", answer)
    return made


DENIED = b'{"__type":"com.amazon.coral.service#AccessDeniedException","message":"canary-message"}'
