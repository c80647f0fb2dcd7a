package dev.rolecall.shim;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;

/** Status and error code: what became of a call. The agent decides again; here it matters which call is a denial. */
final class Outcome {
    private static final Set<String> DENIED = words("AllAccessDisabled AuthorizationError AuthorizationErrorException "
            + "Forbidden ForbiddenException NotAuthorized UnauthorizedAccess UnauthorizedOperation");
    private static final Set<String> UNAUTHENTICATED = words("AuthFailure ExpiredToken ExpiredTokenException "
            + "IncompleteSignature IncompleteSignatureException InvalidAccessKeyId InvalidClientTokenId "
            + "InvalidSignatureException InvalidToken MissingAuthenticationToken MissingAuthenticationTokenException "
            + "RequestExpired RequestTimeTooSkewed SignatureDoesNotMatch TokenRefreshRequired "
            + "UnrecognizedClientException");
    private static final Set<String> THROTTLED = words("BandwidthLimitExceeded EC2ThrottledException "
            + "LimitExceededException PriorRequestNotComplete ProvisionedThroughputExceededException "
            + "RequestLimitExceeded RequestThrottled RequestThrottledException SlowDown Throttling "
            + "ThrottlingException ThrottledException TooManyRequestsException TransactionInProgressException");

    private Outcome() {}

    /** The class, from the status (0: nobody answered) and the service's error code or the SDK's exception, or null. */
    static String of(int status, String given) {
        Faults.pass("outcome");
        String code = given == null ? "" : bare(given);
        if (code.contains("AccessDenied") || DENIED.contains(code)) {
            return "denied";
        }
        if (UNAUTHENTICATED.contains(code)) {
            return "unauthenticated";
        }
        if (THROTTLED.contains(code) || status == 429) {
            return "throttled";
        }
        // HEAD has no body that could hold a code; some SDKs write the status in its place.
        if (status == 403 && (code.isEmpty() || code.equals("403"))) {
            return "denied";
        }
        if (status == 304 || (status >= 200 && status < 400 && code.isEmpty())) {
            return "done";
        }
        if (status != 0) {
            return "failed";
        }
        return code.isEmpty() ? "unknown" : "unanswered";
    }

    /** The code without what some protocols put around it: {@code com.amazonaws.x#Code:http://…}, {@code Client.Code}. */
    private static String bare(String code) {
        String out = code.substring(code.lastIndexOf('#') + 1);
        int colon = out.indexOf(':');
        out = colon < 0 ? out : out.substring(0, colon);
        return out.startsWith("Client.") || out.startsWith("Server.") ? out.substring(7) : out;
    }

    private static Set<String> words(String text) {
        return new HashSet<>(Arrays.asList(text.split(" ")));
    }
}
