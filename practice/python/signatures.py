"""Whose request is this? moto believes every key and never looks at a clock; AWS does not, so the gate does not.

Rules: IAM user guide, "AWS Signature Version 4 for API requests".
"""

import hashlib
import hmac
import re
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote, unquote

from answers import Refused

SKEW = 15 * 60
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<scope>[^,]+), ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass
class Key:
    """An access key that the practice cloud has given out."""

    secret: str
    token: str | None
    account: str
    arn: str
    expires: float | None = None
    role_arn: str | None = None


class Keys:
    """Every key that is good, and whose it is."""

    def __init__(self):
        self.lock = threading.Lock()
        self.known = {}

    def add(self, access_key_id, key):
        with self.lock:
            self.known[access_key_id] = key

    def get(self, access_key_id):
        with self.lock:
            return self.known.get(access_key_id)


def service_of(headers):
    """The service that a request is signed for, or None where it is not signed."""
    parsed = AUTHORIZATION.match(headers.get("Authorization", ""))
    return parsed["scope"].split("/")[2] if parsed and parsed["scope"].count("/") == 3 else None


def region_of(headers):
    """The region that a signed request is for."""
    return AUTHORIZATION.match(headers["Authorization"])["scope"].split("/")[1]


def caller(keys, method, target, headers, body):
    """The key that signed the request. Raises what AWS answers to one that is not good."""
    parsed = AUTHORIZATION.match(headers.get("Authorization", ""))
    if parsed is None or parsed["scope"].count("/") != 3:
        raise Refused(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
    store = parsed["scope"].split("/")[2] == "s3"
    key = keys.get(parsed["id"])
    if key is None:
        raise unknown(store)
    if headers.get("X-Amz-Security-Token") != key.token:
        raise Refused(400, "InvalidToken", "The provided token is malformed or otherwise invalid.") if store else unknown(store)
    if key.expires is not None and key.expires <= time.time():
        text = "The provided token has expired." if store else "The security token included in the request is expired"
        raise Refused(400 if store else 403, "ExpiredToken", text)
    check_time(headers, parsed["scope"])
    expected = signature(key.secret, parsed, method, target, headers, body, store)
    if not hmac.compare_digest(expected, parsed["signature"]):
        raise Refused(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
            " and signing method.",
        )
    return key


def unknown(store):
    if store:
        return Refused(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    return Refused(403, "InvalidClientTokenId", "The security token included in the request is invalid.")


def check_time(headers, scope):
    try:
        signed = datetime.strptime(headers.get("X-Amz-Date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise Refused(403, "SignatureDoesNotMatch", "Date in Credential scope does not match the request") from None
    if abs(signed.timestamp() - time.time()) > SKEW or not scope.startswith(signed.strftime("%Y%m%d/")):
        raise Refused(403, "SignatureDoesNotMatch", "Signature expired or not yet current")


def signature(secret, parsed, method, target, headers, body, store):
    path, _, query = target.partition("?")
    # S3 signs the path as it is sent; every other service encodes it once more.
    path = path if store else quote(path, safe="/-_.~")
    pairs = sorted(
        (quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~"))
        for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)
    )
    signed = parsed["headers"].split(";")
    lines = [f"{name}:{' '.join(','.join(headers.get_all(name, [])).split())}\n" for name in signed]
    payload = headers.get("X-Amz-Content-Sha256") or hashlib.sha256(body).hexdigest()
    if re.fullmatch("[0-9a-f]{64}", payload) and payload != hashlib.sha256(body).hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
    canonical = "\n".join(
        [method, path, "&".join("=".join(pair) for pair in pairs), "".join(lines), parsed["headers"], payload]
    )
    text = "\n".join(
        ["AWS4-HMAC-SHA256", headers["X-Amz-Date"], parsed["scope"], hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = b"AWS4" + secret.encode()
    for part in parsed["scope"].split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
