"""What the README of conformance/calls asks of a shim, with the real botocore and a transport that answers by itself."""

import gc
import os
import socket
import subprocess
import sys
import threading
import time
from unittest import mock

import agent as agents
from agent import DENIED, HERE, PACKAGE, Case, client

from rolecall_shim import call, fold, hook, line, parameters, redact, sender
from rolecall_shim.call import Call

ONE = Call("ApiCall", "S3", "GetObject", "eu-central-1", "h", "AKIA", 200, None, None, (("Bucket", "b"),))


def get(made, table="orders"):
    return made.get_item(TableName=table, Key={"id": {"S": "canary-key"}})


class Telling(Case):
    def test_first_sight_is_sent_at_once_and_repeats_at_the_flush(self):
        agent, made = self.agent(), client()
        for _ in range(5):
            get(made)
        agent.wait(lambda: len(agent.of("ApiCall")) == 1)
        self.assertNotIn("Count", agent.of("ApiCall")[0])
        self.shim.flush()
        agent.wait(lambda: len(agent.of("ApiCall")) == 2)
        first, second = agent.of("ApiCall")
        self.assertEqual(second["Count"], 4)
        self.assertGreaterEqual(second["Last"], second["Timestamp"])
        for name in ("Service", "Api", "Region", "Fqdn", "AccessKey", "FinalHttpStatusCode", "Parameters"):
            self.assertEqual(first[name], second[name])
        self.assertEqual(agent.lines[0]["Type"], "Hello")
        self.assertEqual(agent.lines[0]["Pid"], os.getpid())

    def test_a_call_is_told_by_the_names_of_the_model_and_never_with_a_secret(self):
        agent, made = self.agent(), client("cognito-idp")
        made.describe_user_pool(UserPoolId="eu-central-1_a")
        get(client())
        agent.wait(lambda: len(agent.of("ApiCall")) == 2)
        pool, item = agent.of("ApiCall")
        self.assertEqual((pool["Service"], pool["Api"]), ("Cognito Identity Provider", "DescribeUserPool"))
        self.assertEqual(pool["Fqdn"], "cognito-idp.eu-central-1.amazonaws.com")
        self.assertEqual(pool["AccessKey"], "AKIAIOSFODNN7EXAMPLE")
        self.assertEqual(item["XAmznRequestId"], "R1")
        self.assertEqual(item["Parameters"]["TableName"], ["orders"])
        self.assertNotIn(b"canary", agent.raw)

    def test_a_first_denial_is_on_the_socket_before_the_call_returns(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path)
        listener.listen(1)
        made = client(status=400, body=DENIED)
        with self.assertRaises(made.exceptions.ClientError):
            get(made)
        stream, _ = listener.accept()
        stream.setblocking(False)
        data = stream.recv(65536)
        stream.close()
        self.assertIn(b'"FinalHttpStatusCode":400,"FinalAwsException":"AccessDeniedException"', data)
        self.assertNotIn(b"canary", data)

    def test_a_denial_that_the_socket_did_not_take_is_tried_again_by_the_next_one(self):
        made = client(status=403, body=DENIED)
        for _ in range(2):
            with self.assertRaises(made.exceptions.ClientError):
                get(made)
        agent = self.agent()
        self.shim.sender.again = 0
        with self.assertRaises(made.exceptions.ClientError):
            get(made)
        agent.wait(lambda: agent.counted() == (3, 0))

    def test_an_error_of_the_sdk_is_told_by_its_name_and_what_was_not_sent_not_at_all(self):
        agent, made = self.agent(), client(error=ConnectionResetError("canary"))
        with self.assertRaises(ConnectionResetError):
            get(made)
        with self.assertRaises(Exception):
            made.get_item(TableName=4)
        agent.wait(lambda: agent.of("ApiCall"))
        (told,) = agent.of("ApiCall")
        self.assertEqual(told["FinalSdkException"], "ConnectionResetError")
        self.assertNotIn("FinalHttpStatusCode", told)

    def test_presigned_urls_and_forms_are_told_as_such(self):
        agent, made = self.agent(), client("s3")
        self.assertIn("Signature", made.generate_presigned_url("get_object", Params={"Bucket": "reports", "Key": "a"}))
        self.assertIn("fields", made.generate_presigned_post("reports", "b"))
        with self.assertRaises(Exception):
            made.generate_presigned_url("no_such_method")
        agent.wait(lambda: len(agent.of("Presign")) == 2)
        self.assertEqual([p["Api"] for p in agent.of("Presign")], ["GetObject", "PutObject"])
        self.assertEqual(agent.of("Presign")[1]["Parameters"], {"Bucket": ["reports"], "Key": ["b"]})
        self.assertNotIn(b"Signature", agent.raw)
        self.assertEqual(agent.of("ApiCall"), [])

    def test_a_line_that_is_too_long_goes_without_parameters(self):
        agent = self.agent()
        told = tuple(("P%d.Name" % i, "x" * 2000) for i in range(8))
        self.shim.record(ONE._replace(told=told), 1, 1, None, "XAmznRequestId")
        agent.wait(lambda: agent.of("ApiCall"))
        self.assertNotIn("Parameters", agent.of("ApiCall")[0])

    def test_a_body_is_not_read(self):
        class Stream:
            def __init__(self):
                self.reads = 0

            def read(self, *_):
                self.reads += 1
                return b""

        body = Stream()
        plan = parameters.Plan("S3", agents.SESSION.get_service_model("s3").operation_model("PutObject").input_shape)
        self.assertEqual(plan.read({"Body": body, "Bucket": "b"}), (("Bucket", "b"),))
        self.assertEqual(body.reads, 0)


class NeverNoticed(Case):
    def test_a_failure_in_any_part_leaves_the_call_its_result(self):
        places = [
            (hook, "begin"), (hook, "plan_of"), (hook, "finish"), (hook, "release"), (hook, "host_of"), (hook, "answer_of"),
            (hook, "Call"), (hook.Plan, "read"), (parameters, "step"), (parameters, "bounded"), (redact, "by_name"),
            (redact, "by_form"), (redact, "verdict"), (fold, "call_line"), (fold.Entry, "add"), (fold.Fold, "add"),
            (fold.Fold, "keep"), (fold.Fold, "tell"), (line, "encode"), (line, "cut"), (sender.Sender, "offer"),
            (sender.Sender, "connect"), (sender.Sender, "push"), (type(self.shim), "record"), (type(self.shim), "start"),
            (type(self.shim), "wanted"), (type(self.shim), "record_new"),
        ]  # fmt: skip
        self.agent()
        for owner, name in places:
            for failure in (RuntimeError("injected"), MemoryError(), RecursionError()):
                with self.subTest(place=name, failure=type(failure).__name__):
                    self.use()
                    hook.PLANS.clear()
                    made = client()
                    with mock.patch.object(owner, name, side_effect=failure):
                        for _ in range(12):
                            self.assertEqual(get(made)["ResponseMetadata"]["HTTPStatusCode"], 200)
                    made = client(status=400, body=DENIED)
                    with mock.patch.object(owner, name, side_effect=failure):
                        with self.assertRaises(made.exceptions.ClientError):
                            get(made)
        hook.NOTE.set(None)

    def test_ten_mistakes_switch_the_shim_off_and_every_call_is_accounted_for(self):
        agent, made = self.agent(), client()
        for _ in range(3):
            get(made)
        with mock.patch.object(hook, "answer_of", side_effect=RuntimeError):
            for _ in range(10):
                get(made)
        self.assertTrue(self.shim.broken)
        for _ in range(7):
            get(made)
        self.shim.end()
        agent.wait(lambda: agent.of("Bye"))
        # One told; two counted and given up; ten lost to mistakes; seven not looked at.
        self.assertEqual(agent.of("Bye")[0]["Lost"], {"error": 10, "off": 9})
        self.assertEqual(agent.counted(), (1, 19))

    def test_a_peer_that_never_reads_holds_nobody_up_and_no_call_is_lost_from_the_count(self):
        self.agent(read=False)
        started = time.monotonic()
        for number in range(6000):
            self.shim.record(ONE._replace(told=(("Key", "%d" % number),)), 1, 1, "R", "XAmzRequestId")
        self.assertLess(time.monotonic() - started, 3)
        self.assertIsNotNone(self.shim.sender.socket)
        self.assertLessEqual(len(self.shim.fold.table), 4096)
        started = time.monotonic()
        self.shim.end()
        self.assertLess(time.monotonic() - started, 1)

    def test_without_a_listener_calls_are_counted_and_told_once_there_is_one(self):
        made = client()
        for _ in range(4):
            get(made)
        agent = self.agent()
        self.shim.sender.again = 0
        self.assertTrue(self.shim.flush())
        agent.wait(lambda: agent.counted() == (4, 0))

    def test_a_listener_that_dies_and_comes_back_hears_the_rest(self):
        first, made = self.agent(), client()
        get(made)
        first.wait(lambda: first.counted()[0] == 1)
        first.close()
        for table in ("a", "b", "a", "b"):
            get(made, table)
        second = self.agent()
        self.shim.sender.again = 0
        get(made)
        self.shim.flush()
        second.wait(lambda: second.counted() == (5, 0))
        self.assertEqual(second.lines[0]["Type"], "Hello")

    def test_a_line_that_went_half_is_said_again_from_its_beginning(self):
        first, made = self.agent(), client()
        get(made, "whole")
        first.wait(lambda: first.of("ApiCall"))
        whole = self.shim.sender.push
        with mock.patch.object(self.shim.sender, "push", lambda data: whole(data[:10])):
            get(made, "half")
        self.assertTrue(self.shim.sender.unsent)
        first.close()
        get(made, "waits")
        second = self.agent()
        self.shim.sender.ready()
        self.shim.sender.again = 0
        self.shim.flush()
        second.wait(lambda: second.counted() == (2, 0))
        self.assertEqual(second.of("ApiCall")[0]["Parameters"]["TableName"], ["half"])

    def test_100000_different_calls_leave_4096_and_every_other_is_counted_as_lost(self):
        for number in range(100000):
            self.shim.record(ONE._replace(told=(("Key", "%d" % number),)), 1, 1, None, "XAmznRequestId")
        self.assertEqual(len(self.shim.fold.table), 4096)
        self.assertEqual(self.shim.lost, {"full": 100000 - 4096})
        agent = self.agent()
        self.shim.sender.again = 0
        until = time.monotonic() + 5
        while not self.shim.flush() and time.monotonic() < until:
            time.sleep(0.001)
        agent.wait(lambda: sum(agent.counted()) == 100000)
        self.assertEqual(agent.counted(), (4096, 100000 - 4096))

    def test_20000_different_calls_are_all_told_where_somebody_reads(self):
        agent = self.agent()
        for number in range(20000):
            self.shim.record(ONE._replace(told=(("Key", "%d" % number),)), 1, 1, None, "XAmznRequestId")
        self.assertLessEqual(len(self.shim.fold.table), 4096)
        until = time.monotonic() + 5
        while not self.shim.flush() and time.monotonic() < until:
            time.sleep(0.001)
        agent.wait(lambda: sum(agent.counted()) == 20000, 10)

    def test_threads_lose_no_count(self):
        agent, made = self.agent(), client()

        def run():
            for number in range(100):
                get(made, "t%d" % (number % 7))

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.shim.flush()
        agent.wait(lambda: agent.counted() == (800, 0))

    def test_a_note_does_not_outlive_its_call(self):
        made = client()
        get(made)
        gc.collect()
        self.assertIsNone(hook.NOTE.get())
        self.assertIsNone(call.host_of("no url"))


class Switches(Case):
    flush = "100"

    def test_the_file_calls_off_stops_it_for_as_long_as_it_is_there(self):
        off = os.path.join(self.folder, "calls.off")
        open(off, "w").close()
        agent, made = self.agent(), client()
        get(made)
        get(made)
        self.assertEqual(agent.lines, [])
        os.unlink(off)
        agent.wait(lambda: not self.shim.paused)
        get(made)
        agent.wait(lambda: agent.counted() == (1, 0))
        open(off, "w").close()
        agent.wait(lambda: self.shim.paused)
        get(made)
        self.assertEqual(agent.counted(), (1, 0))

    def test_the_thread_flushes_by_itself(self):
        agent, made = self.agent(), client()
        get(made)
        get(made)
        agent.wait(lambda: agent.counted() == (2, 0))

    def test_an_address_that_is_not_of_this_machine_is_none(self):
        self.assertIsNone(sender.address_of("tcp://10.0.0.1:99"))
        self.assertIsNone(sender.address_of("tcp://127.0.0.1:x"))
        self.assertEqual(sender.address_of("tcp://127.0.0.1:99"), (socket.AF_INET, ("127.0.0.1", 99)))

    def test_tcp_of_the_loopback_is_told_the_same(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        self.use(ROLECALL_CALLS_SOCKET="tcp://127.0.0.1:%d" % listener.getsockname()[1])
        get(client())
        stream, _ = listener.accept()
        self.shim.end()
        data = b""
        while b'"Bye"' not in data:
            data += stream.recv(65536)
        stream.close()
        self.assertIn(b'"GetItem"', data)


class Processes(Case):
    """Whole processes, from their start to their end."""

    def run_program(self, text, **environ):
        env = dict(os.environ, PYTHONPATH=PACKAGE + os.pathsep + HERE, ROLECALL_CALLS_SOCKET=self.path, **environ)
        prelude = "import rolecall_shim.start\n" if environ.get("ROLECALL_CALLS") != "off" else ""
        done = subprocess.run(
            [sys.executable, "-c", prelude + text], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30
        )  # fmt: skip
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode()

    program = """
import os
socket = os.environ["ROLECALL_CALLS_SOCKET"]
import agent
os.environ["ROLECALL_CALLS_SOCKET"] = socket
from agent import hook, client
hook.SHIM.__init__()
made = client()
def get(times):
    for _ in range(times):
        made.get_item(TableName="orders", Key={"id": {"S": "x"}})
"""

    def test_at_the_end_of_the_process_what_is_counted_is_sent_and_then_bye(self):
        agent = self.agent()
        self.run_program(self.program + "get(5)")
        agent.wait(lambda: agent.of("Bye"))
        self.assertEqual(agent.counted(), (5, 0))
        self.assertEqual(agent.lines[-1]["Type"], "Bye")

    def test_a_child_of_a_fork_tells_its_own_calls_and_none_of_its_parent(self):
        agent = self.agent()
        self.run_program(
            self.program
            + """
import sys
get(3)
child = os.fork()
get(4)
if child:
    os.waitpid(child, 0)
"""
        )
        agent.wait(lambda: len(agent.of("Bye")) == 2)
        self.assertEqual(agent.counted(), (11, 0))
        self.assertEqual(len({hello["Pid"] for hello in agent.of("Hello")}), 2)

    def test_children_of_multiprocessing_say_goodbye_as_well(self):
        agent = self.agent()
        self.run_program(
            self.program
            + """
import multiprocessing
context = multiprocessing.get_context("fork")
children = [context.Process(target=get, args=(6,)) for _ in range(3)]
get(2)
[child.start() for child in children]
[child.join() for child in children]
"""
        )
        agent.wait(lambda: len(agent.of("Bye")) == 4)
        self.assertEqual(agent.counted(), (20, 0))

    def test_the_end_is_not_held_up_by_a_peer_that_never_reads(self):
        self.agent(read=False)
        out = self.run_program(
            self.program
            + """
import time, atexit
for i in range(3000):
    hook.SHIM.record(hook.Call("ApiCall", "S3", "GetObject", None, None, None, 200, None, None, (("Key", str(i)),)), 1, 1, None, "XAmznRequestId")
started = time.monotonic()
hook.SHIM.end()
print(time.monotonic() - started)
"""
        )
        self.assertLess(float(out), 0.4)

    def test_switched_off_by_the_environment_it_does_nothing_at_all(self):
        agent = self.agent()
        out = self.run_program(
            """
import os, sys
line = open(os.path.join(%r, "rolecall_shim.pth")).read()
exec(line)
import botocore.client
print([m for m in sys.modules if m.startswith("rolecall")], len(sys.meta_path))
print(hasattr(botocore.client.BaseClient._make_api_call, "_rolecall_shim"))
""" % PACKAGE,
            ROLECALL_CALLS="off",
        )
        self.assertIn("[] ", out)
        self.assertIn("False", out)
        self.assertEqual(agent.lines, [])

    def test_starting_python_imports_neither_botocore_nor_what_only_it_needs(self):
        out = self.run_program("import sys; print(sorted(sys.modules))")
        for name in ("botocore", "json", "socket", "_socket", "ssl", "importlib.util", "rolecall_shim.hook", "threading"):
            self.assertNotIn("'%s'" % name, out)
