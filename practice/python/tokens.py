"""Is this web identity token what it says? Asked of PyJWT, which shares no line with Rolecall.

Rules: IAM user guide, "Create an OpenID Connect identity provider" and STS API reference,
AssumeRoleWithWebIdentity (algorithms, whole-number times, at most 20,000 characters).
"""

import json
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from answers import expired_token, invalid_token, invalid_value, issuer_unreachable

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
# Seconds by which an issuer's clock may be ahead of ours. AWS documents none; NTP needs little.
SKEW = 5
# Seconds that an issuer's web server may take.
PATIENCE = 5
# The longest SubjectFromWebIdentityToken of the API's model.
LONGEST_SUBJECT = 255
TAGS = "https://aws.amazon.com/tags"
SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"
NOT_A_JWT = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
NO_KEY = "Couldn't retrieve verification key from your identity provider"


@dataclass
class Issuer:
    """An issuer by its URL, and where its documents really are: a folder or another URL."""

    url: str
    documents: str

    def fetch(self, address):
        """The document that the world would find at `address`."""
        if not address.startswith(self.url.rstrip("/") + "/"):
            raise invalid_token(f"{NO_KEY}: `{address}` is not below the issuer")
        rest = address[len(self.url.rstrip("/")) + 1 :]
        try:
            if self.documents.startswith(("http://", "https://")):
                there = self.documents.rstrip("/") + "/" + rest
                with urllib.request.urlopen(there, timeout=PATIENCE) as answer:
                    return json.load(answer)
            return json.loads((Path(self.documents) / rest).read_text())
        except json.JSONDecodeError as error:
            raise invalid_token(f"{NO_KEY}: `{address}` is not JSON") from error
        except OSError as error:
            raise issuer_unreachable(f"An error occurred while fetching `{address}`") from error

    def key(self, kid, algorithm):
        """The public key `kid`, from what the issuer publishes at this moment."""
        discovery = self.fetch(self.url.rstrip("/") + "/.well-known/openid-configuration")
        if discovery.get("issuer") != self.url:
            raise invalid_token("The issuer of the discovery document is not the issuer of the token")
        keys = [key for key in self.fetch(discovery["jwks_uri"])["keys"] if key.get("kid") == kid]
        if len(keys) != 1:
            raise invalid_token(f"{NO_KEY}: it publishes {len(keys)} keys of that name")
        if keys[0].get("alg", algorithm) != algorithm or keys[0].get("use", "sig") != "sig":
            raise invalid_token(f"{NO_KEY}: the key is not for {algorithm} signatures")
        try:
            return jwt.PyJWK(keys[0], algorithm=algorithm).key
        except jwt.PyJWTError as error:
            raise invalid_token(f"{NO_KEY}: the key does not fit {algorithm}") from error


@dataclass
class Identity:
    """A token that holds: what the rest of STS may believe."""

    issuer: str
    subject: str
    audience: str
    tags: dict = field(default_factory=dict)
    transitive: list = field(default_factory=list)
    source_identity: str | None = None


def verify(token, issuers, audiences):
    """The identity in `token`.

    `issuers`: URL → Issuer that can be reached. `audiences`: issuer URL → the client ids that the
    role's account registered for it, or None where that account has no such provider.
    """
    if not 4 <= len(token) <= 20000:
        raise invalid_value("webIdentityToken", "***", "Member must have length between 4 and 20000")
    header, claimed = unverified(token)
    issuer_url = claimed.get("iss")
    registered = audiences(issuer_url) if isinstance(issuer_url, str) else None
    if registered is None:
        raise invalid_token(f"No OpenIDConnect provider found in your account for {issuer_url}")
    if header.get("alg") not in ALGORITHMS:
        raise invalid_token("The token is not signed with an algorithm that is taken")
    if not isinstance(header.get("kid"), str):
        raise invalid_token("Missing a required header parameter: kid")
    if issuer_url not in issuers:
        raise issuer_unreachable(f"An error occurred while fetching `{issuer_url}`")
    key = issuers[issuer_url].key(header["kid"], header["alg"])
    claims = decode(token, key, header["alg"], issuer_url, registered)
    tags, transitive = read_tags(claims)
    audience = claims["aud"] if isinstance(claims["aud"], str) else claims["aud"][0]
    return Identity(issuer_url, claims["sub"], audience, tags, transitive, claims.get(SOURCE_IDENTITY))


def unverified(token):
    """Header and claims as they stand, for finding the key and nothing else."""
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise invalid_token(NOT_A_JWT) from error
    for name in ("exp", "iat", "nbf"):
        # bool is an int in Python, but not in a token.
        if name in claims and (isinstance(claims[name], bool) or not isinstance(claims[name], int)):
            raise invalid_token(f"Timestamps must be whole numbers: {name}")
    return header, claims


def decode(token, key, algorithm, issuer, audiences):
    required = ["iss", "sub", "aud", "exp", "iat"]
    try:
        claims = jwt.decode(
            token, key, algorithms=[algorithm], audience=audiences, issuer=issuer, leeway=SKEW, options={"require": required}
        )
    except jwt.ExpiredSignatureError as error:
        raise expired_token("Token expired: current date/time must be before the expiration date/time") from error
    except jwt.InvalidAudienceError as error:
        raise invalid_token("Incorrect token audience") from error
    except jwt.MissingRequiredClaimError as error:
        raise invalid_token(f"Missing a required claim: {error.claim}") from error
    except jwt.ImmatureSignatureError as error:
        raise invalid_token("Token is not yet valid") from error
    except jwt.InvalidSignatureError as error:
        raise invalid_token("Token signature invalid") from error
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise invalid_token(NOT_A_JWT) from error
    # The skew is for an issuer that is ahead. A token that is over is over.
    if claims["exp"] <= time.time():
        raise expired_token("Token expired: current date/time must be before the expiration date/time")
    if not isinstance(claims["sub"], str) or not claims["sub"]:
        raise invalid_token("Missing a required claim: sub")
    if len(claims["sub"]) > LONGEST_SUBJECT:
        raise invalid_token(f"The subject is longer than {LONGEST_SUBJECT} characters")
    return claims


def read_tags(claims):
    """Session tags, in either of the two shapes of IAM user guide, "Pass session tags in AWS STS"."""
    found = claims.get(TAGS)
    if found is None:
        prefix = TAGS + "/principal_tags/"
        tags = {name[len(prefix) :]: [value] for name, value in claims.items() if name.startswith(prefix)}
        transitive = claims.get(TAGS + "/transitive_tag_keys", [])
    elif isinstance(found, dict):
        tags = found.get("principal_tags", {})
        transitive = found.get("transitive_tag_keys", [])
    else:
        raise invalid_token("The tags claim is not an object")
    if not isinstance(tags, dict) or not isinstance(transitive, list):
        raise invalid_token("The tags claim does not have the shape that is documented")
    flat = {}
    for name, value in tags.items():
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, str):
            raise invalid_token(f"The session tag `{name}` must be one string in a list")
        flat[name] = value
    if not all(isinstance(name, str) for name in transitive):
        raise invalid_token("A transitive tag key is not a string")
    return flat, transitive
