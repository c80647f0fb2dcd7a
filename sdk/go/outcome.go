package rolecall

// What became of a call, from status and error code. The vectors are in conformance/calls/outcomes.json.

import "strings"

var classes = map[string]string{
	"AllAccessDisabled":           "denied",
	"AuthorizationError":          "denied",
	"AuthorizationErrorException": "denied",
	"Forbidden":                   "denied",
	"ForbiddenException":          "denied",
	"NotAuthorized":               "denied",
	"UnauthorizedAccess":          "denied",
	"UnauthorizedOperation":       "denied",

	"AuthFailure":                         "unauthenticated",
	"ExpiredToken":                        "unauthenticated",
	"ExpiredTokenException":               "unauthenticated",
	"IncompleteSignature":                 "unauthenticated",
	"IncompleteSignatureException":        "unauthenticated",
	"InvalidAccessKeyId":                  "unauthenticated",
	"InvalidClientTokenId":                "unauthenticated",
	"InvalidSignatureException":           "unauthenticated",
	"InvalidToken":                        "unauthenticated",
	"MissingAuthenticationToken":          "unauthenticated",
	"MissingAuthenticationTokenException": "unauthenticated",
	"RequestExpired":                      "unauthenticated",
	"RequestTimeTooSkewed":                "unauthenticated",
	"SignatureDoesNotMatch":               "unauthenticated",
	"TokenRefreshRequired":                "unauthenticated",
	"UnrecognizedClientException":         "unauthenticated",

	"BandwidthLimitExceeded":                 "throttled",
	"EC2ThrottledException":                  "throttled",
	"LimitExceededException":                 "throttled",
	"PriorRequestNotComplete":                "throttled",
	"ProvisionedThroughputExceededException": "throttled",
	"RequestLimitExceeded":                   "throttled",
	"RequestThrottled":                       "throttled",
	"RequestThrottledException":              "throttled",
	"SlowDown":                               "throttled",
	"Throttling":                             "throttled",
	"ThrottlingException":                    "throttled",
	"ThrottledException":                     "throttled",
	"TooManyRequestsException":               "throttled",
	"TransactionInProgressException":         "throttled",
}

// bareCode is the code without what some protocols put around it: `com.amazonaws.x#Code:http://…`, `Client.Code`.
func bareCode(code string) string {
	code = code[strings.LastIndexByte(code, '#')+1:]
	code, _, _ = strings.Cut(code, ":")
	return strings.TrimPrefix(strings.TrimPrefix(code, "Client."), "Server.")
}

// outcome is `done`, `denied`, `throttled`, `unauthenticated`, `failed`, `unanswered` or `unknown`.
func outcome(status int, code string) string {
	if code != "" {
		plain := bareCode(code)
		if strings.Contains(plain, "AccessDenied") {
			return "denied"
		}
		if class := classes[plain]; class != "" {
			return class
		}
	}
	switch {
	case status == 0 && code == "":
		return "unknown"
	case status == 0:
		return "unanswered"
	case status == 429:
		return "throttled"
	case status == 403 && (code == "" || code == "403"):
		return "denied"
	case status == 304 || status < 400 && code == "":
		return "done"
	}
	return "failed"
}
