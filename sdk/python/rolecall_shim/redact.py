"""What of a call may be told: `rules.json`, read in the order that its README gives."""

import json
import os
import re

with open(os.path.join(os.path.dirname(__file__), "rules.json"), encoding="utf-8") as file:
    RULES = json.load(file)

KEEP_NAMES = frozenset(name.lower() for name in RULES["keep"]["names"])
KEEP_ENDINGS = tuple(ending.lower() for ending in RULES["keep"]["endings"])
KEEP_KEYS_OF = frozenset(name.lower() for name in RULES["keep"]["keysOf"])

SIGNED = ("X-Amz-Signature=", "X-Amz-Security-Token=", "x-amz-security-token=", "&Signature=")
SESSION_TOKENS = ("FQoG", "FwoG", "IQoJ")
# Names may begin like a session token; none of those is as short as they are.
SESSION_TOKEN_MIN = 100
BASE64 = re.compile(r"[A-Za-z0-9+/=_%-]*\Z", re.ASCII)


def marker(kind):
    """What stands in the place of a value of this kind."""
    return "<redacted " + kind + ">"


def letters(text):
    """A service's name as rules compare it: letters and digits alone, in any case."""
    return "".join(c for c in text.lower() if c.isalnum())


class Rule:
    """One rule of `redact`, with its names made ready for comparing."""

    def __init__(self, rule):
        self.service = letters(rule["service"])
        self.kind = rule["kind"]
        names = [name.lower() for name in rule["names"]]
        self.exact = frozenset(name for name in names if "*" not in name)
        self.endings = tuple(name[1:] for name in names if name.startswith("*"))
        self.beginnings = tuple(name[:-1] for name in names if name.endswith("*"))

    def fits(self, service, names):
        if self.service and self.service != service:
            return False
        return any(
            name in self.exact or name.endswith(self.endings) or name.startswith(self.beginnings) for name in names
        )


REDACT = [Rule(rule) for rule in RULES["redact"]]


def names_of(path):
    """The members on a path, in lower case and without `[]` and `{}`."""
    return [name.replace("[]", "").replace("{}", "").lower() for name in path.split(".")]


def by_name(service, path):
    """Step 1: the kind by which a rule takes out what stands at this path, or nothing."""
    service, names = letters(service), names_of(path)
    for rule in REDACT:
        if rule.fits(service, names):
            return rule.kind
    return None


def by_form(value):
    """Step 3: the kind of secret that a value is by its form, whatever its name, or nothing."""
    if any(part in value for part in SIGNED):
        return "signed-url"
    if "-----BEGIN" in value and "PRIVATE KEY-----" in value:
        return "private-key"
    if value.startswith(SESSION_TOKENS) and len(value) >= SESSION_TOKEN_MIN and BASE64.match(value):
        return "session-token"
    parts = value.split(".", 3)
    if len(parts) == 3 and parts[0].startswith("ey") and parts[1].startswith("ey") and all(map(BASE64.match, parts)):
        return "token"
    return None


def may_be_told(path):
    """Step 4: whether the last member on the path has a name that says what is in it."""
    last = names_of(path)[-1]
    if path.endswith("{}"):
        return last in KEEP_KEYS_OF
    return last in KEEP_NAMES or last.endswith(KEEP_ENDINGS)


def verdict(service, path, sensitive):
    """Steps 1, 2 and 4 for a path: a marker, `True` (told if its form allows it), or `None` (left out)."""
    kind = by_name(service, path)
    if kind is None and sensitive:
        kind = "secret"
    if kind is not None:
        return marker(kind)
    return True if may_be_told(path) else None
