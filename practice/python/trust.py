"""Does a role's trust policy let this caller in? Only what trust policies need; what is not known refuses.

Rules: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators".
"""

import re

NOT_KNOWN = object()


def allows(policy, action, principals, context):
    """Whether `policy` lets one of `principals` do `action`. A deny wins over every allow.

    `principals`: for example [("Federated", "arn:…")], or all forms in which an AWS caller is named.
    `context`: condition keys in lower case → a string, or a list for keys with several values.
    """
    allowed = False
    for statement in listed(policy.get("Statement", [])):
        if not any(like(pattern.lower(), action.lower()) for pattern in listed(statement.get("Action", []))):
            continue
        if not names(statement.get("Principal", {}), principals):
            continue
        # A condition that this gate does not understand must not open a door, whichever way it swings.
        verdict = holds(statement.get("Condition", {}), context)
        if statement.get("Effect") == "Deny" and verdict is not False:
            return False
        if statement.get("Effect") == "Allow" and verdict is True:
            allowed = True
    return allowed


def names(stated, principals):
    if stated == "*":
        return True
    return any(
        pattern in ("*", name) for kind, name in principals for pattern in listed(stated.get(kind, []))
    )


def holds(condition, context):
    """True, False, or NOT_KNOWN where an operator is not implemented here."""
    verdict = True
    for operator, keys in condition.items():
        for key, patterns in keys.items():
            one = test(operator, [str(pattern) for pattern in listed(patterns)], context.get(key.lower()))
            if one is False:
                return False
            if one is NOT_KNOWN:
                verdict = NOT_KNOWN
    return verdict


def test(operator, patterns, value):
    quantifier, _, name = operator.rpartition(":")
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    if name == "Null":
        return (value is None) == (patterns[0].lower() == "true")
    negated = name in ("StringNotEquals", "StringNotLike")
    match = {
        "StringEquals": lambda pattern, text: pattern == text,
        "StringNotEquals": lambda pattern, text: pattern == text,
        "StringEqualsIgnoreCase": lambda pattern, text: pattern.lower() == text.lower(),
        "StringLike": like,
        "StringNotLike": like,
        "ArnEquals": like,
        "ArnLike": like,
    }.get(name)
    if match is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        return NOT_KNOWN
    if value is None:
        return optional or negated or quantifier == "ForAllValues"
    results = [any(match(pattern, text) for pattern in patterns) != negated for text in listed(value)]
    return all(results) if quantifier == "ForAllValues" else any(results)


def like(pattern, text):
    """`*` is any run of characters, `?` any one; everything else is itself."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def listed(value):
    return value if isinstance(value, list) else [value]
