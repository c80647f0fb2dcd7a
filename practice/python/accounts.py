"""The accounts of the practice cloud: made in moto, and asked of moto."""

import json
import threading

import boto3
from botocore.config import Config

from signatures import Key

ADMIN = "arn:aws:iam::{account}:role/practice-admin"
EVERY_STEP = ["sts:TagSession", "sts:SetSourceIdentity"]


class Accounts:
    """A way into every account. moto lets anybody assume any role of any account, and this is our way in."""

    def __init__(self, moto, region):
        self.moto = moto
        self.region = region
        self.lock = threading.Lock()
        self.sessions = {}

    def client(self, account, service):
        with self.lock:
            if (account, service) not in self.sessions:
                self.sessions[account, service] = self.connect(account, service)
            return self.sessions[account, service]

    def connect(self, account, service):
        common = {
            "endpoint_url": self.moto,
            "region_name": self.region,
            "config": Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2}),
        }
        session = boto3.Session()
        sts = session.client("sts", aws_access_key_id="practice", aws_secret_access_key="practice", **common)
        got = sts.assume_role(RoleArn=ADMIN.format(account=account), RoleSessionName="practice")["Credentials"]
        return session.client(
            service,
            aws_access_key_id=got["AccessKeyId"],
            aws_secret_access_key=got["SecretAccessKey"],
            aws_session_token=got["SessionToken"],
            **common,
        )

    def role(self, arn):
        """(trust policy, longest session in seconds), or None where there is no such role.

        Asked anew each time, so that a test may change the policy while the cloud runs.
        """
        iam = self.client(account_of(arn), "iam")
        try:
            role = iam.get_role(RoleName=arn.split("/")[-1])["Role"]
        except iam.exceptions.NoSuchEntityException:
            return None
        if role["Arn"] != arn:
            return None
        return role["AssumeRolePolicyDocument"], int(role.get("MaxSessionDuration", 3600))

    def audiences(self, account, issuer):
        """The client ids that the account registered for an issuer, or None where it has no such provider."""
        iam = self.client(account, "iam")
        for listed in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
            if listed["Arn"] == provider_arn(account, issuer):
                return iam.get_open_id_connect_provider(OpenIDConnectProviderArn=listed["Arn"])["ClientIDList"]
        return None

    def set_trust(self, arn, policy):
        iam = self.client(account_of(arn), "iam")
        iam.update_assume_role_policy(RoleName=arn.split("/")[-1], PolicyDocument=json.dumps(policy))

    def make_host(self, account, keys):
        """The identity that the host itself has in the compute account, with a key of its own."""
        iam = self.client(account, "iam")
        user = iam.create_user(UserName="practice-host")["User"]
        made = iam.create_access_key(UserName="practice-host")["AccessKey"]
        keys.add(made["AccessKeyId"], Key(made["SecretAccessKey"], None, account, user["Arn"]))
        return {
            "account": account,
            "arn": user["Arn"],
            "access_key_id": made["AccessKeyId"],
            "secret_access_key": made["SecretAccessKey"],
        }

    def make_application(self, plan, issuer, audience, host_arn, buckets):
        """One application's account: provider, role for tokens, role for the host, bucket."""
        account, name = plan["account"], plan["name"]
        iam = self.client(account, "iam")
        made = {"name": name, "account": account, "role_arn": None}
        if issuer:
            iam.create_open_id_connect_provider(Url=issuer, ClientIDList=[audience], ThumbprintList=["0" * 40])
            policy = trust_tokens(account, issuer, audience, plan["subject"])
            made["role_arn"] = self.make_role(iam, name, policy, plan["max_session"])
        made["external_id"] = f"practice-{name}"
        policy = trust_host(host_arn, made["external_id"])
        made["lent_role_arn"] = self.make_role(iam, f"{name}-lent", policy, plan["max_session"])
        made["bucket"] = f"practice-{name.lower().replace('_', '-')}-{account}"
        # The location is asked for where the region is not the oldest one, which refuses to be named.
        place = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        self.client(account, "s3").create_bucket(Bucket=made["bucket"], **place)
        buckets[made["bucket"]] = account
        return made

    def make_role(self, iam, name, policy, longest):
        role = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps(policy), MaxSessionDuration=longest
        )
        return role["Role"]["Arn"]


def account_of(arn):
    return arn.split(":")[4]


def issuer_name(issuer):
    """An issuer as IAM names it in ARNs and condition keys."""
    return issuer.removeprefix("https://")


def provider_arn(account, issuer):
    return f"arn:aws:iam::{account}:oidc-provider/{issuer_name(issuer)}"


def trust_tokens(account, issuer, audience, subject):
    name = issuer_name(issuer)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": provider_arn(account, issuer)},
                "Action": ["sts:AssumeRoleWithWebIdentity", *EVERY_STEP],
                "Condition": {"StringEquals": {f"{name}:aud": audience}, "StringLike": {f"{name}:sub": subject}},
            }
        ],
    }


def trust_host(host_arn, external_id):
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": host_arn},
                "Action": ["sts:AssumeRole", *EVERY_STEP],
                "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
            }
        ],
    }
