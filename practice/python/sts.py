"""What STS checks before it gives out credentials. moto checks none of it.

Rules: STS API reference, AssumeRole and AssumeRoleWithWebIdentity; IAM user guide, "Pass session
tags in AWS STS" and "Monitor and control actions taken with assumed roles".
"""

import re
import unicodedata
from dataclasses import dataclass, field

import tokens
from accounts import account_of, issuer_name, provider_arn
from answers import denied, invalid, invalid_value, too_large
from trust import allows

ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
SHORTEST = 900
CHAINED_LONGEST = 3600
MOST_TAGS = 50
# How AWS packs tags is not documented. Plain text is held to what it documents for a plain policy.
MOST_CHARACTERS = 2048


@dataclass
class Wish:
    """One AssumeRole… request, as far as it has been understood. What is in it may be recorded."""

    action: str
    role: str
    session_name: str
    duration: int = 3600
    caller: str | None = None
    subject: str | None = None
    audience: str | None = None
    external_id: str | None = None
    tags: dict = field(default_factory=dict)
    transitive: list = field(default_factory=list)
    source_identity: str | None = None


def with_token(wish, form, accounts, issuers):
    """Checks AssumeRoleWithWebIdentity; fills `wish` with what the token says."""
    check_request(wish, form)
    account = account_of(wish.role)
    identity = tokens.verify(
        form.get("WebIdentityToken", ""), issuers, lambda issuer: accounts.audiences(account, issuer)
    )
    wish.subject, wish.audience = identity.subject, identity.audience
    wish.tags, wish.transitive = identity.tags, identity.transitive
    wish.source_identity = identity.source_identity
    name = issuer_name(identity.issuer)
    principals = [("Federated", provider_arn(account, identity.issuer))]
    context = {f"{name}:sub".lower(): identity.subject, f"{name}:aud".lower(): identity.audience}
    check_session(wish)
    check_role(wish, accounts, principals, context, CHAINED_LONGEST * 12)
    return identity


def by_caller(wish, form, key, accounts):
    """Checks AssumeRole, asked by the owner of `key`."""
    wish.caller = key.arn
    check_request(wish, form)
    wish.external_id = form.get("ExternalId")
    if wish.external_id is not None and not EXTERNAL_ID.fullmatch(wish.external_id):
        raise invalid_value("externalId", wish.external_id, f"Member must satisfy {EXTERNAL_ID.pattern}")
    wish.tags = {
        form[f"Tags.member.{at}.Key"]: form.get(f"Tags.member.{at}.Value", "")
        for at in range(1, len(form) + 1)
        if f"Tags.member.{at}.Key" in form
    }
    wish.transitive = [
        form[f"TransitiveTagKeys.member.{at}"]
        for at in range(1, len(form) + 1)
        if f"TransitiveTagKeys.member.{at}" in form
    ]
    wish.source_identity = form.get("SourceIdentity")
    check_session(wish)
    named = [key.arn, f"arn:aws:iam::{key.account}:root", key.account]
    if key.role_arn is not None:
        named.append(key.role_arn)
    context = {"aws:principalarn": key.role_arn or key.arn, "aws:principalaccount": key.account}
    if wish.external_id is not None:
        context["sts:externalid"] = wish.external_id
    # A role that was reached through a role lives for an hour at most.
    longest = CHAINED_LONGEST if key.role_arn is not None else CHAINED_LONGEST * 12
    check_role(wish, accounts, [("AWS", name) for name in named], context, longest)


def check_request(wish, form):
    if not ROLE_ARN.fullmatch(wish.role):
        raise invalid(f"{wish.role} is invalid")
    if not NAME.fullmatch(wish.session_name):
        raise invalid_value("roleSessionName", wish.session_name, f"Member must satisfy {NAME.pattern}")
    stated = form.get("DurationSeconds", "3600")
    if not stated.isdecimal() or not SHORTEST <= int(stated) <= CHAINED_LONGEST * 12:
        raise invalid_value("durationSeconds", stated, "Member must be between 900 and 43200")
    wish.duration = int(stated)


def check_session(wish):
    """Tags and source identity: their number, sizes and characters."""
    if len(wish.tags) > MOST_TAGS:
        raise invalid_value("tags", "…", f"Member must have length less than or equal to {MOST_TAGS}")
    for name, value in wish.tags.items():
        if not 1 <= len(name) <= 128 or not all(map(taggable, name)) or name.lower().startswith("aws:"):
            raise invalid_value("tags.key", name, "Member must be a tag key of 1 to 128 characters")
        if len(value) > 256 or not all(map(taggable, value)):
            raise invalid_value("tags.value", value, "Member must be a tag value of at most 256 characters")
    folded = {name.lower() for name in wish.tags}
    if len(folded) != len(wish.tags):
        raise invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if not {name.lower() for name in wish.transitive} <= folded:
        raise invalid("The specified transitive tag key must be included in the requested tags.")
    if wish.source_identity is not None:
        if not isinstance(wish.source_identity, str) or not NAME.fullmatch(wish.source_identity):
            raise invalid_value("sourceIdentity", wish.source_identity, f"Member must satisfy {NAME.pattern}")
    if packed(wish) > 100:
        raise too_large(f"Packed policy consumes {packed(wish)}% of allotted space, please use smaller policy.")


def packed(wish):
    """Percent of the room for tags that a session takes."""
    characters = sum(len(name) + len(value) for name, value in wish.tags.items())
    characters += sum(len(name) for name in wish.transitive)
    return -(-characters * 100 // MOST_CHARACTERS)


def taggable(character):
    """One of `[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]`."""
    return character in "_.:/=+-@" or unicodedata.category(character)[0] in "LZN"


def check_role(wish, accounts, principals, context, longest):
    """The role's own word: its trust policy for each thing that is wanted, and its longest session."""
    found = accounts.role(wish.role)
    if found is None:
        raise denied(f"sts:{wish.action}", wish.role, wish.caller)
    policy, longest_of_role = found
    context = {**context, "sts:rolesessionname": wish.session_name}
    if wish.tags:
        context["aws:tagkeys"] = list(wish.tags)
        context |= {f"aws:requesttag/{name}".lower(): value for name, value in wish.tags.items()}
    if wish.transitive:
        context["sts:transitivetagkeys"] = wish.transitive
    if wish.source_identity is not None:
        context["sts:sourceidentity"] = wish.source_identity
    wanted = [f"sts:{wish.action}"]
    wanted += ["sts:TagSession"] if wish.tags else []
    wanted += ["sts:SetSourceIdentity"] if wish.source_identity is not None else []
    for action in wanted:
        if not allows(policy, action, principals, context):
            raise denied(action, wish.role, wish.caller)
    if wish.duration > longest:
        raise invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
    if wish.duration > longest_of_role:
        raise invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
