"""What one call was: the things that make two calls equal."""

from collections import namedtuple

Call = namedtuple("Call", "type service api region host key status code exception told")
Call.__doc__ = """All that makes calls equal. `told` are the pairs of path and value that `parameters` read."""


def host_of(url):
    """The host of a URL, without user and port; nothing if there is none."""
    parts = url.split("/", 3)
    if len(parts) < 3:
        return None
    host = parts[2].rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] or None


def answer_of(parsed):
    """Status, error code, request id and its member, of what botocore made of an answer."""
    metadata = parsed.get("ResponseMetadata") or {}
    error = parsed.get("Error")
    code = error.get("Code") if error else None
    headers = metadata.get("HTTPHeaders")
    member = "XAmzRequestId" if headers and "x-amz-request-id" in headers else "XAmznRequestId"
    return metadata.get("HTTPStatusCode"), code, metadata.get("RequestId"), member
