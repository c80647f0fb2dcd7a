"""The CPU time that the shim adds to a call: full botocore, DynamoDB GetItem, a transport that answers by itself.

    python bench.py [rounds]

Modes take turns, each round of each in a process of its own. Lines go to a process
that reads them. Of the rounds, the least and the median are printed. OpenTelemetry and X-Ray join where they are installed.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

CALLS = 1500
MODES = ("none", "shim-repeat", "shim-new", "opentelemetry", "xray")
READER = """
import socket, sys, threading
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(64)
while True:
    stream, _ = listener.accept()
    while stream.recv(1 << 20):
        pass
"""


def run(mode):
    """In a process of its own: µs of CPU for each call, or a word why there are none."""
    if mode.startswith("shim"):
        import rolecall_shim.start  # noqa: F401
    import botocore.session
    from botocore.awsrequest import AWSResponse

    try:
        instrument(mode)
    except ImportError:
        return "not installed"

    class Body:
        def stream(self):
            return iter([b"{}"])

    client = botocore.session.get_session().create_client("dynamodb", region_name="eu-central-1")
    client.meta.events.register(
        "before-send", lambda request, **_: AWSResponse(request.url, 200, {"x-amzn-RequestId": "R1"}, Body())
    )
    tables = ["orders-%d" % i if mode == "shim-new" else "orders" for i in range(CALLS)]
    for table in ["warm"] * 200:
        client.get_item(TableName=table, Key={"id": {"S": "a"}})
    started = time.process_time()
    for table in tables:
        client.get_item(TableName=table, Key={"id": {"S": "a"}})
    return (time.process_time() - started) / CALLS * 1e6


def instrument(mode):
    if mode == "opentelemetry":
        from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Nowhere(SpanExporter):
            def export(self, spans):
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Nowhere()))
        BotocoreInstrumentor().instrument(tracer_provider=provider)
    elif mode == "xray":
        from aws_xray_sdk.core import patch, xray_recorder

        xray_recorder.configure(sampling=False, context_missing="IGNORE_ERROR")
        patch(["botocore"])
        xray_recorder.begin_segment("bench")


def parts():
    """What a call costs in the hook alone, without botocore: the work of the shim itself."""
    import rolecall_shim.start  # noqa: F401
    import botocore.session

    from rolecall_shim import hook

    client = botocore.session.get_session().create_client("dynamodb", region_name="eu-central-1")
    url, key = "https://dynamodb.eu-central-1.amazonaws.com/", "AKIAIOSFODNN7EXAMPLE"
    answer = {"ResponseMetadata": {"HTTPStatusCode": 200, "RequestId": "R1", "HTTPHeaders": {"a": "b"}}}

    class Request:
        pass

    def call(params):
        note = hook.begin(client, "GetItem")
        hook.note_input(params)
        request = Request()
        request.url = url
        note.request, note.key = request, key
        hook.finish(note, client, "GetItem", answer, None)

    out = []
    for name, inputs in (
        ("repeat", [{"TableName": "orders", "Key": {"id": {"S": "a"}}}] * 20000),
        ("new", [{"TableName": "orders-%d" % i, "Key": {"id": {"S": "a"}}} for i in range(20000)]),
    ):
        call(inputs[0])
        started = time.process_time()
        for params in inputs:
            call(params)
        out.append("%s %.2f" % (name, (time.process_time() - started) / len(inputs) * 1e6))
    return ", ".join(out)


def start_up():
    """ms that the `.pth` file adds to the start of Python."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rolecall_shim.pth")) as file:
        line = file.read()
    started = time.perf_counter()
    exec(line)
    return (time.perf_counter() - started) * 1e3


def one(mode, environ):
    here = os.path.abspath(__file__)
    done = subprocess.run([sys.executable, here, "--mode", mode], env=environ, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


def main(rounds):
    with tempfile.TemporaryDirectory(prefix="rolecall-") as folder:
        path = os.path.join(folder, "calls.sock")
        reader = subprocess.Popen([sys.executable, "-c", READER, path])
        environ = dict(
            os.environ, ROLECALL_CALLS_SOCKET=path, AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
            AWS_SECRET_ACCESS_KEY="x", PYTHONPATH=os.path.dirname(os.path.abspath(__file__)),
        )  # fmt: skip
        try:
            results = {mode: [] for mode in MODES}
            for _ in range(rounds):
                for mode in MODES:
                    results[mode].append(one(mode, environ))
            report(results)
            print("hook alone, µs: " + min(one("parts", environ) for _ in range(3)))
            print("start-up, ms: %.2f" % min(float(one("start-up", environ)) for _ in range(7)))
        finally:
            reader.terminate()
            reader.wait()


def report(results):
    base = [float(value) for value in results["none"]]
    print("µs of CPU for each call: least and median of %d rounds; added to the least, and its share" % len(base))
    for mode, values in results.items():
        if values[0] == "not installed":
            print("%-14s not installed" % mode)
            continue
        numbers = [float(value) for value in values]
        added = min(numbers) - min(base)
        print(
            "%-14s %7.1f %7.1f  %+7.1f  ×%.3f"
            % (mode, min(numbers), statistics.median(numbers), added, min(numbers) / min(base))
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--mode"]:
        single = {"parts": parts, "start-up": start_up}.get(sys.argv[2])
        print(single() if single else run(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 7)
