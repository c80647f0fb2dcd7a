"""The strict gate: stands in front of moto and is as strict as AWS where moto is not.

It reads its plan as one line of JSON on its standard input, makes the accounts in moto, says in one
line of JSON on its standard output what it made, and serves until its standard input ends. Further
lines of input are orders: {"set_trust": {"role": …, "policy": …}} is answered by {"done": true}.

Where moto differs from AWS, and what the gate does about it:
- SIGNATURES: moto believes every key, secret, session token and clock. `signatures.py` checks them.
- TOKENS: moto takes anything as a web identity token. `tokens.py` checks it with PyJWT.
- TRUST: moto asks no trust policy, nor whether the role exists. `sts.py` and `trust.py` do.
- ANSWERS: moto leaves out subject, audience, provider and source identity, and makes up the packed
  size. `complete` puts them in.
- KEYS: moto's KMS signs the digest of a digest, and its public keys lack what AWS says of them. `sign_key`
  refuses the one and completes the other.
- BUCKETS: moto lets every account into every bucket. `check_bucket` lets in the owner alone.
"""

import http.client
import json
import re
import sys
import threading
import time
import xml.etree.ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import signatures
import sts
from accounts import Accounts, account_of
from answers import Refused, invalid
from signatures import Key, Keys
from tokens import Issuer

READY = "/-/ready"
PATIENCE = 30
MOST_BYTES = 64 * 1024 * 1024
OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect", "content-length"}
RESULT = re.compile(rb"</(AssumeRole(?:WithWebIdentity)?)Result>")


class Cloud:
    """What all requests share."""

    def __init__(self, plan):
        self.moto = urlsplit(plan["moto"]).netloc
        self.accounts = Accounts(plan["moto"], plan["region"])
        self.keys = Keys()
        self.buckets = {}
        self.issuers = {}
        if plan["issuer"]:
            self.issuers[plan["issuer"]["url"]] = Issuer(**plan["issuer"])
        self.log = open(plan["log"], "a", buffering=1)
        self.lock = threading.Lock()

    def make(self, plan):
        host = self.accounts.make_host(plan["compute"], self.keys)
        issuer = plan["issuer"] and plan["issuer"]["url"]
        applications = [
            self.accounts.make_application(one, issuer, plan["audience"], host["arn"], self.buckets)
            for one in plan["applications"]
        ]
        return {"host": host, "applications": applications}

    def record(self, wish, verdict, message, started):
        """One line for one STS call. Never a token, a key or a signature."""
        line = {"at": time.time(), "took": time.monotonic() - started, "verdict": verdict, "message": message, **vars(wish)}
        with self.lock:
            self.log.write(json.dumps(line) + "\n")


class Gate(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "practice"
    # Headers and body leave in two writes: without this each answer waits for a delayed ACK.
    disable_nagle_algorithm = True
    cloud: Cloud

    def answer(self):
        try:
            body = self.read_body()
            if self.path == READY:
                return self.send(200, [("Content-Type", "text/plain")], b"ready\n")
            self.send(*self.decide(body))
        except Refused as refused:
            self.refuse(refused)
        except (OSError, http.client.HTTPException) as error:
            self.refuse(Refused(500, "InternalFailure", f"moto did not answer: {type(error).__name__}"))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = answer

    def decide(self, body):
        service = signatures.service_of(self.headers)
        form = self.form(body)
        if service == "sts" or (service is None and form.get("Action", "").startswith("AssumeRole")):
            return self.sts(form, body)
        key = signatures.caller(self.cloud.keys, self.command, self.path, self.headers, body)
        if service == "s3":
            return self.store(key, body)
        if service == "kms":
            return self.sign_key(key, body)
        return self.forward(body)

    def sts(self, form, body):
        started = time.monotonic()
        wish = sts.Wish(form.get("Action", ""), form.get("RoleArn", ""), form.get("RoleSessionName", ""))
        try:
            identity = self.check_sts(wish, form, body)
        except Refused as refused:
            self.cloud.record(wish, refused.code, refused.message, started)
            raise
        status, headers, answer = self.forward(body)
        if status == 200 and wish.action.startswith("AssumeRole"):
            self.remember(wish, answer)
            answer = complete(answer, wish, identity)
        self.cloud.record(wish, "Allowed" if status == 200 else str(status), None, started)
        return status, headers, answer

    def check_sts(self, wish, form, body):
        if wish.action == "AssumeRoleWithWebIdentity":
            return sts.with_token(wish, form, self.cloud.accounts, self.cloud.issuers)
        key = signatures.caller(self.cloud.keys, self.command, self.path, self.headers, body)
        wish.caller = key.arn
        if wish.action == "AssumeRole":
            sts.by_caller(wish, form, key, self.cloud.accounts)
        elif wish.action != "GetCallerIdentity":
            raise invalid(f"The practice cloud does not speak `{wish.action}`")
        return None

    def remember(self, wish, answer):
        """Takes the key that moto has just made into the list of good ones."""
        found = {element.tag.split("}")[-1]: element.text for element in xml.etree.ElementTree.fromstring(answer).iter()}
        key = Key(
            secret=found["SecretAccessKey"],
            token=found["SessionToken"],
            account=account_of(wish.role),
            arn=found["Arn"],
            expires=time.time() + wish.duration,
            role_arn=wish.role,
        )
        self.cloud.keys.add(found["AccessKeyId"], key)

    def store(self, key, body):
        bucket = unquote(urlsplit(self.path).path).lstrip("/").split("/")[0]
        owner = self.cloud.buckets.get(bucket)
        if owner is not None and owner != key.account:
            raise Refused(403, "AccessDenied", "Access Denied")
        answer = self.forward(body)
        if answer[0] == 200 and bucket and owner is None and self.command == "PUT":
            self.cloud.buckets[bucket] = key.account
        return answer

    def sign_key(self, key, body):
        """A call of KMS. A key that is named by the ARN of another account is not there, as it shares no key."""
        action = self.headers.get("X-Amz-Target", "").removeprefix("TrentService.")
        asked = json.loads(body)
        if action == "Sign" and asked.get("MessageType") == "DIGEST":
            raise invalid("The practice cloud's keys sign no digests: moto would hash them once more")
        named = asked.get("KeyId", "")
        if named.startswith("arn:") and account_of(named) != key.account:
            raise Refused(400, "NotFoundException", f"Key '{named}' does not exist")
        status, headers, answer = self.forward(body)
        if status == 200 and action == "GetPublicKey":
            said = json.loads(answer)
            said["KeySpec"] = said["CustomerMasterKeySpec"]
            said["KeyId"] = f"arn:aws:kms:{signatures.region_of(self.headers)}:{key.account}:key/{said['KeyId']}"
            answer = json.dumps(said).encode()
        return status, headers, answer

    def forward(self, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_ONE_HOP}
        headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection(self.cloud.moto, timeout=PATIENCE)
        try:
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in OF_ONE_HOP]
            # The length of what HEAD leaves out is part of its answer.
            if self.command == "HEAD" and answer.getheader("Content-Length"):
                kept.append(("Content-Length", answer.getheader("Content-Length")))
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self.read_chunks()
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST_BYTES:
            raise Refused(413, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        return self.rfile.read(length)

    def read_chunks(self):
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            if len(body) + size > MOST_BYTES:
                raise Refused(413, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def form(self, body):
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def refuse(self, refused):
        service = signatures.service_of(self.headers)
        kind, body = {
            "s3": ("application/xml", refused.store),
            "kms": ("application/x-amz-json-1.1", refused.keys),
        }.get(service, ("text/xml", refused.query))
        self.send(refused.status, [("Content-Type", kind)], body())

    def send(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format, *arguments):
        """The default writes every request line to the error log; the STS log has what matters."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A client that hangs up is no event; anything else is a defect of the gate."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def complete(answer, wish, identity):
    """moto's answer with what AWS adds to it."""
    more = f"<SourceIdentity>{escape(wish.source_identity)}</SourceIdentity>" if wish.source_identity else ""
    if identity is not None:
        more += f"<SubjectFromWebIdentityToken>{escape(identity.subject)}</SubjectFromWebIdentityToken>"
        more += f"<Audience>{escape(identity.audience)}</Audience><Provider>{escape(identity.issuer)}</Provider>"
    answer = re.sub(rb"<PackedPolicySize>\d+<", f"<PackedPolicySize>{sts.packed(wish)}<".encode(), answer)
    return RESULT.sub(lambda end: more.encode() + end[0], answer)


def wait_for(moto, until):
    """Returns when moto answers at all."""
    while True:
        connection = http.client.HTTPConnection(moto, timeout=5)
        try:
            connection.request("GET", "/moto-api/")
            return connection.getresponse().read()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


def say(line):
    print(json.dumps(line), flush=True)


def start(plan):
    """A gate that listens, and what it made."""
    wait_for(urlsplit(plan["moto"]).netloc, time.monotonic() + PATIENCE)
    cloud = Cloud(plan)
    made = cloud.make(plan)
    server = Server((plan["listen"], 0), type("Gate", (Gate,), {"cloud": cloud}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.server_address[:2]
    return server, cloud, {"endpoint": f"http://{host}:{port}", **made}


def main():
    _, cloud, made = start(json.loads(sys.stdin.readline()))
    say(made)
    for line in sys.stdin:
        try:
            order = json.loads(line)["set_trust"]
            cloud.accounts.set_trust(order["role"], order["policy"])
            say({"done": True})
        except Exception as error:
            say({"done": False, "why": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
