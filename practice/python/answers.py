"""What AWS says when it says no, in the words and shapes that the SDKs read."""

import json
import uuid
from xml.sax.saxutils import escape

STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


OF_KEYS = {
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "ExpiredToken": "ExpiredTokenException",
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
}


class Refused(Exception):
    """An answer of AWS's own: a documented code with its HTTP status.

    STS codes and statuses are those of the API's model: AssumeRoleWithWebIdentity, "Errors".
    """

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def query(self):
        """The body of a query-protocol service: STS, IAM."""
        return (
            f'<ErrorResponse xmlns="{STS_NAMESPACE}">\n  <Error>\n    <Type>Sender</Type>\n'
            f"    <Code>{escape(self.code)}</Code>\n    <Message>{escape(self.message)}</Message>\n"
            f"  </Error>\n  <RequestId>{uuid.uuid4()}</RequestId>\n</ErrorResponse>\n"
        ).encode()

    def store(self):
        """The body of S3."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
            f"<RequestId>{uuid.uuid4()}</RequestId></Error>"
        ).encode()

    def keys(self):
        """The body of KMS, which has names of its own for what is wrong with a signature."""
        return json.dumps({"__type": OF_KEYS.get(self.code, self.code), "message": self.message}).encode()


def invalid_token(message):
    return Refused(400, "InvalidIdentityToken", message)


def expired_token(message):
    return Refused(400, "ExpiredTokenException", message)


def issuer_unreachable(message):
    return Refused(400, "IDPCommunicationError", message)


def denied(action, role_arn, caller=None):
    if caller is None:
        return Refused(403, "AccessDenied", f"Not authorized to perform {action}")
    return Refused(
        403, "AccessDenied", f"User: {caller} is not authorized to perform: {action} on resource: {role_arn}"
    )


def too_large(message):
    return Refused(400, "PackedPolicyTooLarge", message)


def invalid(message):
    return Refused(400, "ValidationError", message)


def invalid_value(name, value, constraint):
    return invalid(
        f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: {constraint}"
    )
