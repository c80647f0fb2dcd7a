"""The gate's own tests: every lie gets AWS's own error, and the truth gets through.

A stage is a real moto behind a real gate; the tokens are signed here with PyJWT, so that neither
the gate nor this file shares code with Rolecall's issuer.
"""

import base64
import hashlib
import hmac
import json
import logging
import tempfile
import time
import unittest
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import jwt
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from moto.server import ThreadedMotoServer

import gate
import signatures
from accounts import trust_tokens
from answers import Refused
from signatures import Key
from tokens import SOURCE_IDENTITY, TAGS
from trust import NOT_KNOWN, allows, test

ISSUER = "https://issuer.example/practice"
AUDIENCE = "sts.amazonaws.com"
SUBJECT = "orders/production/one"
REGION = "eu-west-1"
OWN, OTHER = "222222222222", "333333333333"


def published(kid, key, algorithm):
    """A public key as the issuer's key document shows it."""
    kind = jwt.algorithms.RSAAlgorithm if algorithm.startswith("RS") else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": algorithm, "use": "sig"}


class Stage:
    """moto, the gate and an issuer's documents."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.documents = Path(self.folder.name)
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.publish()
        self.moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.moto.start()
        host, port = self.moto.get_host_and_port()
        applications = [
            {"name": "orders", "account": OWN, "subject": "orders/*", "max_session": 7200},
            {"name": "billing", "account": OTHER, "subject": "billing/*", "max_session": 3600},
        ]
        self.log = self.documents / "calls.jsonl"
        self.server, self.cloud, self.made = gate.start(
            {
                "listen": "127.0.0.1",
                "moto": f"http://{host}:{port}",
                "log": str(self.log),
                "region": REGION,
                "audience": AUDIENCE,
                "issuer": {"url": ISSUER, "documents": str(self.documents)},
                "compute": "111111111111",
                "applications": applications,
            }
        )
        self.orders, self.billing = self.made["applications"]

    def publish(self):
        well_known = self.documents / ".well-known"
        well_known.mkdir(exist_ok=True)
        discovery = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys.json"}
        (well_known / "openid-configuration").write_text(json.dumps(discovery))
        keys = [published("rsa", self.rsa, "RS256"), published("ec", self.ec, "ES256")]
        (self.documents / "keys.json").write_text(json.dumps({"keys": keys}))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.cloud.log.close()
        self.moto.stop()
        self.folder.cleanup()

    def token(self, claims=None, key=None, algorithm="RS256", kid="rsa"):
        now = int(time.time())
        said = {"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + 300, **(claims or {})}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key or self.rsa, algorithm=algorithm, headers={"kid": kid})

    def client(self, service, key=None):
        if key is None:
            return boto3.client(
                service, endpoint_url=self.made["endpoint"], region_name=REGION, config=Config(signature_version=UNSIGNED)
            )
        return boto3.client(
            service,
            endpoint_url=self.made["endpoint"],
            region_name=REGION,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=key.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 1}),
        )

    def host(self):
        host = self.made["host"]
        return {"AccessKeyId": host["access_key_id"], "SecretAccessKey": host["secret_access_key"]}

    def assume(self, token=None, **more):
        asked = {"RoleArn": self.orders["role_arn"], "RoleSessionName": "one", **more}
        return self.client("sts").assume_role_with_web_identity(WebIdentityToken=token or self.token(), **asked)

    def lend(self, **more):
        asked = {"RoleArn": self.orders["lent_role_arn"], "RoleSessionName": "one", "ExternalId": "practice-orders"}
        return self.client("sts", self.host()).assume_role(**{**asked, **more})

    def calls(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def setUpModule():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # One for all: moto keeps its accounts per process.
    Case.stage = Stage()
    unittest.addModuleCleanup(Case.stage.close)


class Case(unittest.TestCase):
    stage: Stage

    def refused(self, code, status, attempt):
        with self.assertRaises(ClientError) as caught:
            attempt()
        error = caught.exception.response
        self.assertEqual((error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]), (code, status), error)
        return error["Error"]["Message"]

    def refused_token(self, code, status, claims=None, **how):
        return self.refused(code, status, lambda: self.stage.assume(self.stage.token(claims, **how)))


class Tokens(Case):
    def test_a_true_token_gets_the_role_in_its_own_account(self):
        got = self.stage.assume()
        self.assertEqual(got["SubjectFromWebIdentityToken"], SUBJECT)
        self.assertEqual((got["Audience"], got["Provider"]), (AUDIENCE, ISSUER))
        caller = self.stage.client("sts", got["Credentials"]).get_caller_identity()
        self.assertEqual(caller["Account"], OWN)
        self.assertEqual(caller["Arn"], f"arn:aws:sts::{OWN}:assumed-role/orders/one")

    def test_an_es256_token_is_taken(self):
        self.stage.assume(self.stage.token(key=self.stage.ec, algorithm="ES256", kid="ec"))

    def test_a_forged_signature_is_refused(self):
        self.refused_token("InvalidIdentityToken", 400, key=self.stage.stranger)

    def test_a_changed_claim_is_refused(self):
        head, body, sign = self.stage.token().split(".")
        other = self.stage.token({"sub": "orders/production/two"}).split(".")[1]
        self.refused("InvalidIdentityToken", 400, lambda: self.stage.assume(".".join([head, other, sign])))

    def test_an_unknown_kid_is_refused(self):
        self.assertIn("verification key", self.refused_token("InvalidIdentityToken", 400, kid="other"))

    def test_the_key_of_another_algorithm_is_refused(self):
        self.refused_token("InvalidIdentityToken", 400, kid="ec")

    def test_algorithm_none_is_refused(self):
        token = self.stage.token()
        bare = jwt.encode(jwt.decode(token, options={"verify_signature": False}), None, algorithm="none", headers={"kid": "rsa"})
        why = self.refused("InvalidIdentityToken", 400, lambda: self.stage.assume(bare))
        self.assertIn("algorithm", why)

    def test_hs256_with_the_public_key_as_secret_is_refused(self):
        def part(value):
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

        keys = (self.stage.documents / "keys.json").read_bytes()
        claims = jwt.decode(self.stage.token(), options={"verify_signature": False})
        text = part({"alg": "HS256", "typ": "JWT", "kid": "rsa"}) + b"." + part(claims)
        mac = base64.urlsafe_b64encode(hmac.new(keys, text, hashlib.sha256).digest()).rstrip(b"=")
        why = self.refused("InvalidIdentityToken", 400, lambda: self.stage.assume((text + b"." + mac).decode()))
        self.assertIn("algorithm", why)

    def test_a_wrong_audience_is_refused(self):
        self.assertIn("audience", self.refused_token("InvalidIdentityToken", 400, {"aud": "another"}))

    def test_a_foreign_issuer_is_refused(self):
        self.assertIn("No OpenIDConnect provider", self.refused_token("InvalidIdentityToken", 400, {"iss": "https://other.example"}))

    def test_an_expired_token_is_refused(self):
        now = int(time.time())
        self.refused_token("ExpiredTokenException", 400, {"iat": now - 400, "exp": now - 100})

    def test_a_token_that_ended_a_second_ago_gets_no_skew(self):
        now = int(time.time())
        self.refused_token("ExpiredTokenException", 400, {"iat": now - 60, "exp": now - 1})

    def test_a_token_from_the_future_is_refused(self):
        now = int(time.time())
        self.refused_token("InvalidIdentityToken", 400, {"nbf": now + 120})
        self.refused_token("InvalidIdentityToken", 400, {"iat": now + 120, "exp": now + 300})

    def test_a_missing_claim_is_refused(self):
        for name in ("iss", "sub", "aud", "exp", "iat"):
            with self.subTest(name):
                self.refused_token("InvalidIdentityToken", 400, {name: None})

    def test_a_subject_that_is_too_long_is_refused(self):
        self.stage.assume(self.stage.token({"sub": "orders/" + "x" * 248}))
        self.refused_token("InvalidIdentityToken", 400, {"sub": "orders/" + "x" * 249})

    def test_times_must_be_whole_numbers(self):
        self.refused_token("InvalidIdentityToken", 400, {"exp": time.time() + 300.5})

    def test_what_is_not_a_token_is_refused(self):
        self.refused("InvalidIdentityToken", 400, lambda: self.stage.assume("not.a.token"))

    def test_an_issuer_that_publishes_nothing_is_a_communication_error(self):
        document = self.stage.documents / "keys.json"
        self.addCleanup(document.write_text, document.read_text())
        document.unlink()
        self.refused("IDPCommunicationError", 400, self.stage.assume)


class Sessions(Case):
    def tagged(self, tags, transitive=(), **claims):
        return self.stage.token({TAGS: {"principal_tags": tags, "transitive_tag_keys": list(transitive)}, **claims})

    def trust(self, change):
        policy = trust_tokens(OWN, ISSUER, AUDIENCE, "orders/*")
        self.addCleanup(self.stage.cloud.accounts.set_trust, self.stage.orders["role_arn"], policy)
        changed = trust_tokens(OWN, ISSUER, AUDIENCE, "orders/*")
        change(changed["Statement"][0])
        self.stage.cloud.accounts.set_trust(self.stage.orders["role_arn"], changed)

    def test_tags_and_source_identity_are_taken_and_recorded(self):
        token = self.tagged({"Application": ["orders"]}, ["Application"], **{SOURCE_IDENTITY: "one@orders"})
        self.assertEqual(self.stage.assume(token)["SourceIdentity"], "one@orders")
        last = self.stage.calls()[-1]
        self.assertEqual((last["verdict"], last["subject"]), ("Allowed", SUBJECT))
        self.assertEqual((last["tags"], last["transitive"]), ({"Application": "orders"}, ["Application"]))
        self.assertEqual(last["source_identity"], "one@orders")

    def test_flat_tag_claims_are_taken(self):
        self.stage.assume(self.stage.token({f"{TAGS}/principal_tags/Application": "orders"}))
        self.assertEqual(self.stage.calls()[-1]["tags"], {"Application": "orders"})

    def test_a_subject_that_the_role_does_not_trust_is_denied(self):
        token = self.stage.token({"sub": "billing/production/one"})
        self.refused("AccessDenied", 403, lambda: self.stage.assume(token))

    def test_another_applications_role_is_denied(self):
        self.refused("AccessDenied", 403, lambda: self.stage.assume(RoleArn=self.stage.billing["role_arn"]))

    def test_a_role_that_does_not_exist_is_denied(self):
        self.refused("AccessDenied", 403, lambda: self.stage.assume(RoleArn=f"arn:aws:iam::{OWN}:role/absent"))

    def test_tags_need_leave_to_tag(self):
        self.trust(lambda statement: statement["Action"].remove("sts:TagSession"))
        self.stage.assume()
        token = self.tagged({"Application": ["orders"]})
        self.assertIn("sts:TagSession", self.refused("AccessDenied", 403, lambda: self.stage.assume(token)))

    def test_source_identity_needs_leave_to_set_it(self):
        self.trust(lambda statement: statement["Action"].remove("sts:SetSourceIdentity"))
        token = self.stage.token({SOURCE_IDENTITY: "one"})
        self.assertIn("sts:SetSourceIdentity", self.refused("AccessDenied", 403, lambda: self.stage.assume(token)))

    def test_a_condition_on_a_tag_is_held(self):
        self.trust(lambda statement: statement["Condition"]["StringEquals"].update({"aws:RequestTag/Team": "blue"}))
        self.refused("AccessDenied", 403, lambda: self.stage.assume(self.tagged({"Team": ["red"]})))
        self.stage.assume(self.tagged({"Team": ["blue"]}))

    def test_tags_of_a_wrong_shape_are_refused(self):
        for tags in ({"a": ["x", "y"]}, {"a": 1}, ["a"]):
            with self.subTest(tags):
                self.refused("InvalidIdentityToken", 400, lambda: self.stage.assume(self.tagged(tags)))

    def test_tags_beyond_the_limits_are_refused(self):
        cases = [{f"k{at}": ["v"] for at in range(51)}, {"k" * 129: ["v"]}, {"k": ["v" * 257]}]
        cases += [{"k": ["a;b"]}, {"aws:k": ["v"]}, {"k": ["v"], "K": ["v"]}]
        for tags in cases:
            with self.subTest(tags):
                self.refused("ValidationError", 400, lambda: self.stage.assume(self.tagged(tags)))

    def test_a_transitive_key_must_be_a_tag(self):
        self.refused("ValidationError", 400, lambda: self.stage.assume(self.tagged({"a": ["b"]}, ["c"])))

    def test_tags_that_do_not_fit_when_packed_are_refused(self):
        tags = {f"key{at}": ["v" * 250] for at in range(10)}
        self.refused("PackedPolicyTooLarge", 400, lambda: self.stage.assume(self.tagged(tags)))

    def test_a_source_identity_out_of_bounds_is_refused(self):
        for identity in ("x", "x" * 65, "a/b", 7):
            with self.subTest(identity):
                token = self.stage.token({SOURCE_IDENTITY: identity})
                self.refused("ValidationError", 400, lambda: self.stage.assume(token))

    def test_the_roles_longest_session_is_held(self):
        self.stage.assume(DurationSeconds=7200)
        self.refused("ValidationError", 400, lambda: self.stage.assume(DurationSeconds=7201))

    def test_a_session_name_with_a_slash_is_refused(self):
        self.refused("ValidationError", 400, lambda: self.stage.assume(RoleSessionName="orders/one"))


class Lending(Case):
    def test_the_host_with_the_external_id_gets_the_role(self):
        got = self.stage.lend(SourceIdentity="one", Tags=[{"Key": "Application", "Value": "orders"}], TransitiveTagKeys=["Application"])
        self.assertEqual(got["SourceIdentity"], "one")
        caller = self.stage.client("sts", got["Credentials"]).get_caller_identity()
        self.assertEqual(caller["Arn"], f"arn:aws:sts::{OWN}:assumed-role/orders-lent/one")
        recorded = self.stage.calls()[-2]
        self.assertEqual((recorded["tags"], recorded["source_identity"]), ({"Application": "orders"}, "one"))

    def test_a_wrong_external_id_is_denied(self):
        self.refused("AccessDenied", 403, lambda: self.stage.lend(ExternalId="practice-billing"))

    def test_no_external_id_is_denied(self):
        sts = self.stage.client("sts", self.stage.host())
        role = self.stage.orders["lent_role_arn"]
        self.refused("AccessDenied", 403, lambda: sts.assume_role(RoleArn=role, RoleSessionName="one"))

    def test_another_principal_is_denied(self):
        sts = self.stage.client("sts", self.stage.assume()["Credentials"])
        asked = {"RoleArn": self.stage.orders["lent_role_arn"], "RoleSessionName": "one", "ExternalId": "practice-orders"}
        self.refused("AccessDenied", 403, lambda: sts.assume_role(**asked))


class Callers(Case):
    def whoami(self, key):
        return self.stage.client("sts", key).get_caller_identity()

    def test_a_key_that_was_never_given_out_is_refused(self):
        key = {"AccessKeyId": "AKIAQQQQQQQQQQQQQQQQ", "SecretAccessKey": "x"}
        self.refused("InvalidClientTokenId", 403, lambda: self.whoami(key))

    def test_the_secret_of_another_is_refused(self):
        mine, yours = self.stage.assume()["Credentials"], self.stage.assume()["Credentials"]
        mixed = {**mine, "SecretAccessKey": yours["SecretAccessKey"]}
        self.refused("SignatureDoesNotMatch", 403, lambda: self.whoami(mixed))

    def test_the_session_token_of_another_is_refused(self):
        mine, yours = self.stage.assume()["Credentials"], self.stage.assume()["Credentials"]
        self.refused("InvalidClientTokenId", 403, lambda: self.whoami({**mine, "SessionToken": yours["SessionToken"]}))

    def test_credentials_that_are_over_are_refused(self):
        key = self.stage.assume()["Credentials"]
        known: Key = self.stage.cloud.keys.get(key["AccessKeyId"])
        known.expires = time.time() - 1
        self.refused("ExpiredToken", 403, lambda: self.whoami(key))
        self.refused("ExpiredToken", 400, lambda: self.stage.client("s3", key).list_objects_v2(Bucket=self.stage.orders["bucket"]))

    def test_a_key_of_kms_says_what_aws_says_of_it_and_signs_no_digest(self):
        kms = self.stage.client("kms", self.stage.host())
        made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        public = kms.get_public_key(KeyId=made["Arn"])
        self.assertEqual((public["KeyId"], public["KeySpec"]), (made["Arn"], "ECC_NIST_P256"))
        ask = {"KeyId": made["Arn"], "SigningAlgorithm": "ECDSA_SHA_256"}
        kms.sign(Message=b"message", MessageType="RAW", **ask)
        self.refused("ValidationError", 400, lambda: kms.sign(Message=b"0" * 32, MessageType="DIGEST", **ask))

    def test_a_key_of_kms_is_for_its_own_account_and_for_who_signs_well(self):
        made = self.stage.client("kms", self.stage.host()).create_key()["KeyMetadata"]
        other = self.stage.client("kms", self.stage.assume()["Credentials"])
        self.refused("NotFoundException", 400, lambda: other.get_public_key(KeyId=made["Arn"]))
        wrong = self.stage.client("kms", {**self.stage.host(), "SecretAccessKey": "x"})
        self.refused("InvalidSignatureException", 403, lambda: wrong.get_public_key(KeyId=made["Arn"]))

    def test_a_header_of_ones_own_that_is_signed_cannot_be_changed(self):
        keys, body = self.stage.cloud.keys, b"Action=GetCallerIdentity&Version=2011-06-15"
        host = self.stage.host()
        request = AWSRequest("POST", self.stage.made["endpoint"] + "/", {"X-Nonce": "one"}, body)
        SigV4Auth(Credentials(host["AccessKeyId"], host["SecretAccessKey"]), "sts", REGION).add_auth(request)
        headers = Message()
        for name, value in [*request.headers.items(), ("Host", urlsplit(self.stage.made["endpoint"]).netloc)]:
            headers[name] = value
        self.assertEqual(signatures.caller(keys, "POST", "/", headers, body).arn, self.stage.made["host"]["arn"])
        headers.replace_header("X-Nonce", "two")
        with self.assertRaises(Refused):
            signatures.caller(keys, "POST", "/", headers, body)

    def test_a_bucket_opens_for_its_own_account_alone(self):
        s3 = self.stage.client("s3", self.stage.assume()["Credentials"])
        s3.put_object(Bucket=self.stage.orders["bucket"], Key="a b/ü+c.txt", Body=b"text")
        self.assertEqual(s3.get_object(Bucket=self.stage.orders["bucket"], Key="a b/ü+c.txt")["Body"].read(), b"text")
        self.refused("AccessDenied", 403, lambda: s3.get_object(Bucket=self.stage.billing["bucket"], Key="x"))

    def test_no_secret_is_in_the_log(self):
        key = self.stage.assume()["Credentials"]
        self.whoami(key)
        text = self.stage.log.read_text()
        for secret in (key["SecretAccessKey"], key["SessionToken"], key["AccessKeyId"], self.stage.token().split(".")[0]):
            self.assertNotIn(secret, text)


class Trust(unittest.TestCase):
    def check(self, condition, context, verdict):
        policy = {"Statement": {"Effect": "Allow", "Principal": {"AWS": "me"}, "Action": "sts:Assume*", "Condition": condition}}
        self.assertIs(allows(policy, "sts:AssumeRole", [("AWS", "me")], context), verdict)

    def test_a_star_is_wild_in_like_and_itself_in_equals(self):
        self.check({"StringLike": {"k": "a*"}}, {"k": "ab"}, True)
        self.check({"StringEquals": {"k": "a*"}}, {"k": "ab"}, False)

    def test_an_absent_key_fails_a_positive_test(self):
        self.check({"StringEquals": {"k": "a"}}, {}, False)
        self.check({"StringEqualsIfExists": {"k": "a"}}, {}, True)

    def test_an_operator_that_is_not_known_opens_nothing(self):
        self.assertIs(test("NumericLessThan", ["1"], "0"), NOT_KNOWN)
        self.check({"NumericLessThan": {"k": "1"}}, {"k": "0"}, False)

    def test_a_deny_wins_even_when_its_condition_is_not_known(self):
        statement = {"Principal": "*", "Action": "sts:AssumeRole"}
        policy = {"Statement": [{"Effect": "Allow", **statement}, {"Effect": "Deny", "Condition": {"Bool": {"k": "true"}}, **statement}]}
        self.assertFalse(allows(policy, "sts:AssumeRole", [("AWS", "me")], {"k": "true"}))


if __name__ == "__main__":
    unittest.main()
