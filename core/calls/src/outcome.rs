use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of a call: the few classes that questions are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was allowed and done.
    Done,
    /// IAM, or a policy on the resource, said no.
    Denied,
    /// The service asked to come back later.
    Throttled,
    /// The credentials themselves were no good: expired, unknown, or a wrong signature. No policy was asked.
    Unauthenticated,
    /// The service answered with any other error. Whether it was allowed is known for most of them only by guess.
    Failed,
    /// Nobody answered: name resolution, connection or time.
    Unanswered,
    /// A URL was signed for somebody to use later. Nothing was asked of the service.
    Presigned,
    /// The line does not tell.
    Unknown,
}

impl Outcome {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Denied,
        Self::Throttled,
        Self::Unauthenticated,
        Self::Failed,
        Self::Unanswered,
        Self::Presigned,
        Self::Unknown,
    ];

    /// The class, from the status (`None` for no answer) and the service's error code or the SDK's exception.
    ///
    /// The code decides before the status: services deny with 400 as well as with 403, and with 403 say other
    /// things too. A 403 without a code that says otherwise is a denial, for HEAD has no body that could hold one.
    ///
    /// ```
    /// # use calls::Outcome;
    /// assert_eq!(Outcome::of(Some(200), None), Outcome::Done);
    /// assert_eq!(Outcome::of(Some(400), Some("AccessDeniedException")), Outcome::Denied);
    /// assert_eq!(Outcome::of(Some(403), Some("ExpiredToken")), Outcome::Unauthenticated);
    /// assert_eq!(Outcome::of(None, Some("ConnectTimeoutError")), Outcome::Unanswered);
    /// ```
    pub fn of(status: Option<u16>, code: Option<&str>) -> Self {
        let code = code.map(bare);
        if let Some(class) = code.and_then(by_code) {
            return class;
        }
        match (status, code) {
            (Some(429), _) => Self::Throttled,
            (Some(403), None | Some("403")) => Self::Denied,
            // Not modified: allowed, and nothing to send.
            (Some(304), _) | (Some(200..=399), None) => Self::Done,
            (Some(_), _) => Self::Failed,
            (None, Some(_)) => Self::Unanswered,
            (None, None) => Self::Unknown,
        }
    }

    /// Its name in records and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Unauthenticated => "unauthenticated",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
            Self::Presigned => "presigned",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The code without what some protocols put around it: `com.amazonaws.x#Code:http://…`, `Client.Code`.
fn bare(code: &str) -> &str {
    let code = code.rsplit_once('#').map_or(code, |(_, code)| code);
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.strip_prefix("Client.").or_else(|| code.strip_prefix("Server.")).unwrap_or(code)
}

/// Error codes that services deny with, besides all that contain `AccessDenied`.
const DENIED: &[&str] = &[
    "AllAccessDisabled",
    "AuthorizationError",
    "AuthorizationErrorException",
    "Forbidden",
    "ForbiddenException",
    "NotAuthorized",
    "UnauthorizedAccess",
    "UnauthorizedOperation",
];

/// Error codes about the credentials.
const UNAUTHENTICATED: &[&str] = &[
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
];

/// Error codes that ask to come back later, as the SDKs' retry modes list them.
const THROTTLED: &[&str] = &[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

fn by_code(code: &str) -> Option<Outcome> {
    if code.contains("AccessDenied") || DENIED.contains(&code) {
        Some(Outcome::Denied)
    } else if UNAUTHENTICATED.contains(&code) {
        Some(Outcome::Unauthenticated)
    } else if THROTTLED.contains(&code) {
        Some(Outcome::Throttled)
    } else {
        None
    }
}
