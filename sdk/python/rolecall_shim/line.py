"""An event → one line of JSON, within 8,192 bytes."""

import json

LIMIT = 8192
# Bounds of the members, in bytes.
NAME, ID, HOST = 128, 128, 255

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def line(members):
    """The line with its line feed, or nothing if it is too long. A half of a surrogate becomes a question mark."""
    data = encode(members).encode("utf-8", "replace")
    return data + b"\n" if len(data) <= LIMIT else None


def call_line(entry):
    """The line of an entry of the table: with its parameters, without them if that is too long, or nothing."""
    members = call_members(entry)
    whole = line(members)
    if whole is None:
        del members["Parameters"]
        whole = line(members)
    return whole


def call_members(entry):
    """What is told of an entry; what is not known is left out."""
    call = entry.call
    members = {"Version": 2, "Type": call.type, "Service": cut(call.service, NAME), "Api": cut(call.api, NAME)}
    put(members, "Region", call.region, NAME)
    members["Timestamp"] = entry.first
    if entry.count > 1:
        members["Last"] = entry.last
        members["Count"] = entry.count
    members["Latency"] = entry.latency
    put(members, "Fqdn", call.host, HOST)
    put(members, "AccessKey", call.key, NAME)
    if isinstance(call.status, int) and 100 <= call.status <= 599:
        members["FinalHttpStatusCode"] = call.status
    put(members, "FinalAwsException", call.code, NAME)
    put(members, "FinalSdkException", call.exception, NAME)
    put(members, entry.id_member, entry.request_id, ID)
    members["Parameters"] = grouped(call.told)
    return members


def grouped(told):
    """Pairs of path and value → path → values."""
    out = {}
    for path, value in told:
        out.setdefault(path, []).append(value)
    return out


def put(members, name, value, limit):
    if value and isinstance(value, str):
        members[name] = cut(value, limit)


def cut(text, limit):
    """The text's beginning that fits, without control characters, which the agent refuses."""
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable())
    if len(text) * 4 <= limit:
        return text
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def hello(sdk, version, shim, pid):
    """Who is speaking."""
    return line(
        {
            "Version": 2, "Type": "Hello", "Language": "python", "Sdk": sdk,
            "SdkVersion": cut(version, 64) or "unknown", "Shim": shim, "Pid": pid,
        }
    )  # fmt: skip


def losses(kind, lost):
    """`Losses` or `Bye`: reason → count."""
    return line({"Version": 2, "Type": kind, "Lost": lost})
