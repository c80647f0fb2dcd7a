"""Input → path → values, bounded.

What is told of a member depends on its path in the service's model alone, so the decision is made once for each path, when
an input first has it, and kept. After that a call costs one look-up for each member that it has.
"""

from operator import itemgetter

from rolecall_shim import redact

PATHS = 64
VALUES = 16
PATH_BYTES = 256
VALUE_BYTES = 2048
# Of one input, no more list items, map entries and structures than these are looked at.
LOOKS = 1024
# Of one operation, no more paths than these are kept; recursive shapes have no end of them.
STEPS = 4096

BY_PATH = itemgetter(0)


class Plan:
    """What to tell of the inputs of one operation."""

    __slots__ = ("service", "steps", "members")

    def __init__(self, service, shape):
        self.service = service
        self.steps = 0
        self.members = Members(self, shape, "", False)

    def read(self, params):
        """Pairs of path and value, each once, in the order of paths. What is redacted by name is a marker already."""
        if not params:
            return ()
        out = {}
        self.members.read(params, out, [LOOKS])
        if len(out) > 1:
            return tuple(sorted(out, key=BY_PATH))
        return tuple(out)


class Members(dict):
    """Of a structure: member → what to do with it. Filled by the first input that has the member."""

    __slots__ = ("plan", "shape", "prefix", "sensitive")

    def __init__(self, plan, shape, prefix, sensitive):
        super().__init__()
        self.plan, self.shape, self.prefix, self.sensitive = plan, shape, prefix, sensitive

    def __missing__(self, name):
        # An unknown name is not kept: it is the program's, and there may be any number of them.
        shapes = getattr(self.shape, "members", None) or {}
        if type(name) is not str or name not in shapes or self.plan.steps >= STEPS:
            return None
        self.plan.steps += 1
        self[name] = made = step(self.plan, shapes[name], self.prefix + name, self.sensitive)
        return made

    def read(self, value, out, looks):
        if not issubclass(type(value), dict):
            return
        for name, inner in dict.items(value):
            what = self[name]
            if what is None:
                continue
            if type(what) is Leaf:
                text = inner if type(inner) is str else text_of(inner)
                if text is not None:
                    out[(what.path, what.marker or text)] = None
            else:
                looks[0] -= 1
                if looks[0] < 0:
                    return
                what.read(inner, out, looks)


class Leaf:
    """A value: told, or its marker in its stead."""

    __slots__ = ("path", "marker")

    def __init__(self, path, verdict):
        self.path = path
        self.marker = None if verdict is True else verdict

    def read(self, value, out, looks):
        text = text_of(value)
        if text is not None:
            out[(self.path, self.marker or text)] = None


class Items:
    """A list: the same for each of its items."""

    __slots__ = ("item",)

    def __init__(self, item):
        self.item = item

    def read(self, value, out, looks):
        kind = list if issubclass(type(value), list) else tuple
        if not issubclass(type(value), kind):
            return
        for inner in kind.__iter__(value):
            looks[0] -= 1
            if looks[0] < 0:
                return
            self.item.read(inner, out, looks)


class Entries:
    """A map: its keys, if they may be told, and the same for each of its values."""

    __slots__ = ("keys", "value")

    def __init__(self, keys, value):
        self.keys, self.value = keys, value

    def read(self, value, out, looks):
        if not issubclass(type(value), dict):
            return
        for key, inner in dict.items(value):
            looks[0] -= 1
            if looks[0] < 0:
                return
            if self.keys is not None:
                self.keys.read(key, out, looks)
            if self.value is not None:
                self.value.read(inner, out, looks)


def step(plan, shape, path, sensitive):
    """What to do with a shape at a path; `None`: it is not looked at."""
    metadata = shape.metadata or {}
    if len(path.encode("utf-8")) > PATH_BYTES or metadata.get("streaming") or metadata.get("eventstream"):
        return None
    if getattr(shape, "is_document_type", False) or getattr(shape, "is_eventstream", False):
        return None
    sensitive = sensitive or bool(metadata.get("sensitive"))
    if shape.type_name == "structure":
        return Members(plan, shape, path + ".", sensitive)
    if shape.type_name == "list":
        item = step(plan, shape.member, path + "[]", sensitive)
        return None if item is None else Items(item)
    if shape.type_name == "map":
        return entries(plan, shape, path + "{}", sensitive)
    verdict = redact.verdict(plan.service, path, sensitive)
    if verdict is None or (shape.type_name == "blob" and verdict is True):
        return None
    return Leaf(path, verdict)


def entries(plan, shape, path, sensitive):
    """A map. Values that are texts have no path of their own, for this one is that of the keys: they are left out."""
    keys = step(plan, shape.key, path, sensitive)
    value = None
    if shape.value.type_name in ("structure", "list", "map"):
        value = step(plan, shape.value, path, sensitive)
        if type(value) is Members:
            value.prefix = path + "."
    return None if keys is None and value is None else Entries(keys, value)


def text_of(value):
    """A text, number or boolean as JSON has it; nothing for everything else. No method of the program's own is called."""
    kind = type(value)  # `isinstance` would ask the value itself for its class.
    if issubclass(kind, str):
        return str.__str__(value)
    if value is True:
        return "true"
    if value is False:
        return "false"
    if issubclass(kind, int):
        return int.__repr__(value)
    if issubclass(kind, float) and -1e308 < value < 1e308:
        return float.__repr__(value)
    return None


def bounded(pairs):
    """The pairs as they may leave the process: without what has the form of a secret, and within all bounds.

    Where there is too much, markers give way to values: they say less.
    """
    if len(pairs) > PATHS:
        pairs = sorted(pairs, key=is_marker)
    out, counts = {}, {}
    for path, value in pairs:
        kind = redact.by_form(value)
        if kind is not None:
            value = redact.marker(kind)
        elif len(value) > VALUE_BYTES // 4 and len(value.encode("utf-8", "replace")) > VALUE_BYTES:
            continue
        count = counts.get(path, 0)
        if count >= VALUES or (count == 0 and len(counts) >= PATHS):
            continue
        if (path, value) not in out:
            counts[path] = count + 1
            out[(path, value)] = None
    return tuple(sorted(out, key=BY_PATH))


def is_marker(pair):
    return pair[1].startswith("<redacted ")
