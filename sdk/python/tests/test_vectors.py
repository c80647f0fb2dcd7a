"""The files of conformance/calls, and the model of every operation."""

import json
import os
import time
import unittest

from agent import CONFORMANCE, SESSION
from botocore.model import ServiceModel

from rolecall_shim import parameters, redact
from rolecall_shim.call import Call
from rolecall_shim.fold import Entry
from rolecall_shim.line import call_line
from rolecall_shim.outcome import outcome

PACKAGE_RULES = os.path.join(os.path.dirname(redact.__file__), "rules.json")
KEPT_DEPTH = 5


def cases(name):
    with open(os.path.join(CONFORMANCE, name), encoding="utf-8") as file:
        return json.load(file)["cases"]


class Vectors(unittest.TestCase):
    def test_the_rules_are_the_conformance_rules_byte_for_byte(self):
        with open(PACKAGE_RULES, "rb") as ours, open(os.path.join(CONFORMANCE, "rules.json"), "rb") as theirs:
            self.assertEqual(ours.read(), theirs.read())

    def test_every_outcome_is_as_the_vectors_say(self):
        for case in cases("outcomes.json"):
            with self.subTest(case["name"]):
                self.assertEqual(outcome(case["status"], case["code"]), case["outcome"])

    def test_every_value_is_redacted_as_the_vectors_say(self):
        for case in cases("redaction.json"):
            with self.subTest(case["name"]):
                kind = redact.by_name(case["service"], case["path"]) or redact.by_form(case["value"])
                self.assertEqual(kind, case["kind"])
                verdict = redact.verdict(case["service"], case["path"], False)
                if case["kind"] is None and case["path"] != "Text":
                    self.assertIs(verdict, True)
                    pairs = ((case["path"], case["value"]),)
                    self.assertEqual(parameters.bounded(pairs), pairs)

    def test_paths_are_as_the_table_of_the_readme_says(self):
        model = ServiceModel(SESSION.get_component("data_loader").load_service_model("dynamodb", "service-2"), "dynamodb")
        for operation, given, told in [
            ("DescribeTable", {"TableName": "a"}, (("TableName", "a"),)),
            (
                "TransactGetItems",
                {"TransactItems": [{"Get": {"TableName": "a"}}, {"Get": {"TableName": "b"}}, {"Get": {"TableName": "a"}}]},
                (("TransactItems[].Get.TableName", "a"), ("TransactItems[].Get.TableName", "b")),
            ),
            ("BatchGetItem", {"RequestItems": {"a": {}, "b": {}}}, (("RequestItems{}", "a"), ("RequestItems{}", "b"))),
        ]:
            plan = parameters.Plan("DynamoDB", model.operation_model(operation).input_shape)
            self.assertEqual(plan.read(given), told)

    def test_no_method_of_the_program_is_called_for_a_value(self):
        class Text(str):
            def __str__(self):
                raise AssertionError("called")

            __repr__ = __format__ = __str__

        class Other:
            def __getattribute__(self, name):
                raise AssertionError("called")

        self.assertEqual(parameters.text_of(Text("a")), "a")
        self.assertIsNone(parameters.text_of(Other()))

    def test_parameters_are_bounded(self):
        pairs = [("P%d" % i, "v") for i in range(100)] + [("P0", "w%d" % i) for i in range(100)] + [("P1", "x" * 2049)]
        kept = parameters.bounded(pairs)
        self.assertEqual(len({path for path, _ in kept}), 64)
        self.assertEqual(len([path for path, _ in kept if path == "P0"]), 16)
        self.assertNotIn(("P1", "x" * 2049), kept)


class Canaries(unittest.TestCase):
    """Builds an input for every operation of every service, and looks for what may not be told in what is."""

    def test_no_canary_of_any_operation_of_any_service_is_in_a_line(self):
        loader = SESSION.get_component("data_loader")
        services = operations = 0
        self.kept = self.hidden = 0
        started = time.process_time()
        for name in loader.list_available_services("service-2"):
            model = ServiceModel(loader.load_service_model(name, "service-2"), name)
            services += 1
            for operation in model.operation_names:
                operations += 1
                self.check(model, operation)
        print(
            "\n%d services, %d operations, %d canaries hidden, %d names told, %.0f s"
            % (services, operations, self.hidden, self.kept, time.process_time() - started)
        )
        self.assertGreater(services, 300)
        self.assertGreater(operations, 15000)
        self.assertGreater(self.kept, operations)

    def check(self, model, operation):
        shape = model.operation_model(operation).input_shape
        if shape is None:
            return
        self.service = str(model.service_id)
        # One top member at a time: the bounds of an input would hide what the rules should.
        for member, inner in shape.members.items():
            self.number, self.told = 0, []
            value = self.build(inner, member, False, 0, [120])
            told = parameters.Plan(self.service, shape).read({member: value})
            call = Call("ApiCall", self.service, operation, None, None, None, 200, None, None, parameters.bounded(told))
            entry = Entry(call)
            entry.add(1, 1, None, "XAmznRequestId")
            data = call_line(entry)
            self.assertNotIn(b"zqcanary", data, (self.service, operation))
            if 0 < len(self.told) <= 16 and b'"Parameters"' in data:
                for text in self.told:
                    self.assertIn(text.encode(), data, (self.service, operation))
                    self.kept += 1

    def build(self, shape, path, sensitive, depth, left):
        sensitive = sensitive or bool(shape.metadata.get("sensitive"))
        left[0] -= 1
        if getattr(shape, "is_document_type", False):
            return {self.canary(): {"Id": self.canary(), "Name": [self.canary()]}}
        if shape.type_name == "structure":
            if depth > KEPT_DEPTH or left[0] < 0:
                return {}
            members = shape.members.items()
            return {name: self.build(inner, path + "." + name, sensitive, depth + 1, left) for name, inner in members}
        if shape.type_name == "list":
            return [self.build(shape.member, path + "[]", sensitive, depth + 1, left)]
        if shape.type_name == "map":
            keys = sensitive or bool(shape.key.metadata.get("sensitive"))
            key = self.text(path + "{}", keys)
            inner = shape.value
            if inner.type_name in ("structure", "list", "map"):
                return {key: self.build(inner, path + "{}", sensitive, depth + 1, left)}
            return {key: self.canary()}
        if shape.type_name == "blob":
            return self.canary() if self.number % 2 else self.canary().encode()
        if shape.type_name == "string":
            return self.text(path, sensitive)
        return 7

    def text(self, path, sensitive):
        # Written anew from the README, not by the functions under test.
        names = [part.replace("[]", "").replace("{}", "").lower() for part in path.split(".")]
        keep = redact.RULES["keep"]
        if path.endswith("{}"):
            told = names[-1] in [name.lower() for name in keep["keysOf"]]
        else:
            told = names[-1] in [name.lower() for name in keep["names"]]
            told = told or any(names[-1].endswith(ending.lower()) for ending in keep["endings"])
        if sensitive or not told or self.ruled(names) or len(path) > 256:
            return self.canary()
        self.number += 1
        self.told.append("kept%dx" % self.number)
        return self.told[-1]

    def ruled(self, names):
        service = self.service.lower().replace(" ", "").replace("-", "")
        for rule in redact.RULES["redact"]:
            if rule["service"] and rule["service"].lower().replace(" ", "") != service:
                continue
            for name in map(str.lower, rule["names"]):
                if any(n == name or name[0] == "*" and n.endswith(name[1:]) for n in names):
                    return True
                if name[-1] == "*" and any(n.startswith(name[:-1]) for n in names):
                    return True
        return False

    def canary(self):
        self.number += 1
        self.hidden += 1
        return "zqcanary%dx" % self.number
