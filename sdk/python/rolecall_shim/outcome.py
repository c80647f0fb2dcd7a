"""Status and error code: what became of a call. The agent decides again; here it matters which call is a denial."""

DENIED = frozenset(
    "AllAccessDisabled AuthorizationError AuthorizationErrorException Forbidden ForbiddenException NotAuthorized "
    "UnauthorizedAccess UnauthorizedOperation".split()
)
UNAUTHENTICATED = frozenset(
    "AuthFailure ExpiredToken ExpiredTokenException IncompleteSignature IncompleteSignatureException InvalidAccessKeyId "
    "InvalidClientTokenId InvalidSignatureException InvalidToken MissingAuthenticationToken "
    "MissingAuthenticationTokenException RequestExpired RequestTimeTooSkewed SignatureDoesNotMatch TokenRefreshRequired "
    "UnrecognizedClientException".split()
)
THROTTLED = frozenset(
    "BandwidthLimitExceeded EC2ThrottledException LimitExceededException PriorRequestNotComplete "
    "ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled RequestThrottledException SlowDown "
    "Throttling ThrottlingException ThrottledException TooManyRequestsException TransactionInProgressException".split()
)


def outcome(status, code):
    """The class, from the status (`None`: nobody answered) and the service's error code or the SDK's exception."""
    if code:
        code = bare(code)
        if "AccessDenied" in code or code in DENIED:
            return "denied"
        if code in UNAUTHENTICATED:
            return "unauthenticated"
        if code in THROTTLED:
            return "throttled"
    if status == 429:
        return "throttled"
    # HEAD has no body that could hold a code; botocore writes the status in its place.
    if status == 403 and code in (None, "", "403"):
        return "denied"
    if status == 304 or (status is not None and 200 <= status < 400 and not code):
        return "done"
    if status is not None:
        return "failed"
    return "unanswered" if code else "unknown"


def bare(code):
    """The code without what some protocols put around it: `com.amazonaws.x#Code:http://…`, `Client.Code`."""
    code = code.rpartition("#")[2].partition(":")[0]
    for prefix in ("Client.", "Server."):
        if code.startswith(prefix):
            return code[len(prefix):]
    return code
