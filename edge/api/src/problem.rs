use std::{borrow::Cow, collections::BTreeMap, fmt};

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a request was refused or failed, and who must act.
///
/// Sent as `application/problem+json`.
///
/// [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Which kind of problem, as a relative address: `/problems/not-allowed`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The kind in words: the same for every problem of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, where, and the way out.
    pub detail: String,
    /// Who must act.
    pub who: Who,
    /// The request's id, by which the server's log knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What is wrong with which field of the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// Who must act for a request to succeed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Whoever asked, by asking for something else or as somebody else.
    Caller,
    /// Whoever runs the server, or decides what it allows.
    Operator,
    /// Nobody: it passes, and the same request may be sent again.
    Nobody,
}

impl Problem {
    /// The media type.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem of a kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            who: kind.who(),
            instance: None,
            fields: BTreeMap::new(),
        }
    }

    /// The request cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    /// The request can be read but means nothing that can be done.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    /// It does not fit what is there.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    /// The policies do not let this person do this.
    pub fn not_allowed(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotAllowed, detail)
    }

    /// Says what is wrong with one field.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>, reason: impl Into<String>) -> Self {
        self.fields.insert(field.into(), reason.into());
        self
    }

    /// Names the request.
    #[must_use]
    pub fn with_instance(mut self, request: impl Into<String>) -> Self {
        self.instance = Some(request.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        for (field, reason) in &self.fields {
            write!(f, "; `{field}`: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Declares the kinds: the one place for what each is called, its status and who must act.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $slug:literal: $status:ident $who:ident $title:literal;)+) => {
        /// Which kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind,)+
            /// A kind that this program does not know: the server is newer.
            Unknown,
        }

        impl Kind {
            /// Every kind that this program knows.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The last part of the problem's type: `not-allowed`.
            pub const fn slug(self) -> &'static str {
                match self {
                    $(Self::$kind => $slug,)+
                    Self::Unknown => "unknown",
                }
            }

            /// The kind in words.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)+
                    Self::Unknown => "a problem of a kind that is not known here",
                }
            }

            /// What it means and when it comes.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!($($doc),+).trim_ascii(),)+
                    Self::Unknown => "a problem of a kind that is not known here",
                }
            }

            /// The HTTP status.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)+
                    Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
                }
            }

            /// Who must act.
            pub const fn who(self) -> Who {
                match self {
                    $(Self::$kind => Who::$who,)+
                    Self::Unknown => Who::Operator,
                }
            }

            fn of(slug: &str) -> Self {
                match slug {
                    $($slug => Self::$kind,)+
                    _ => Self::Unknown,
                }
            }
        }
    };
}

kinds! {
    /// The path, the query or the body cannot be read.
    Malformed = "malformed": BAD_REQUEST Caller "the request cannot be read";
    /// Nobody is signed in, or the session has ended.
    NotSignedIn = "not-signed-in": UNAUTHORIZED Caller "nobody is signed in";
    /// The endpoint is for hosts, and no certificate of the server's own authority was shown.
    NotAHost = "not-a-host": UNAUTHORIZED Caller "no host's certificate was shown";
    /// The sign-in was refused: the token is unknown, used or too old, or the provider said no.
    LoginRefused = "login-refused": FORBIDDEN Caller "the sign-in was refused";
    /// A browser's request did not carry the session's `X-Rolecall-CSRF`: another site may have sent it.
    CrossSite = "cross-site": FORBIDDEN Caller "the request may come from another site";
    /// The policies do not let this person do this.
    NotAllowed = "not-allowed": FORBIDDEN Caller "not allowed";
    /// The host may not join: its token is unknown, or no rule knows its AWS role.
    JoinRefused = "join-refused": FORBIDDEN Operator "the host may not join";
    /// The host was revoked.
    Revoked = "revoked": FORBIDDEN Operator "the host was revoked";
    /// The host may not run this application.
    PlacementRefused = "placement-refused": FORBIDDEN Operator "the host may not run this application";
    /// The host has not reported that it runs this workload.
    NotRunning = "not-running": FORBIDDEN Nobody "the host has not reported this workload";
    /// No binding of the application is in force, or another role is asked for than the one it names.
    NotBound = "not-bound": FORBIDDEN Operator "the role is not bound to the application";
    /// The switch is off for this workload.
    SwitchedOff = "switched-off": FORBIDDEN Nobody "the switch is off for this workload";
    /// There is no such thing.
    NotFound = "not-found": NOT_FOUND Caller "not found";
    /// The path is known, but not with this method.
    WrongMethod = "wrong-method": METHOD_NOT_ALLOWED Caller "the path is known, but not with this method";
    /// The request does not fit what is there: something else was done in the meantime.
    Conflict = "conflict": CONFLICT Caller "it does not fit what is there";
    /// The one-time token or nonce was used before, or its life is over.
    TokenUsed = "token-used": GONE Caller "the one-time token was used or has ended";
    /// The body is longer than the endpoint takes.
    TooLarge = "too-large": PAYLOAD_TOO_LARGE Caller "the body is too large";
    /// The body is not said to be JSON.
    WrongMediaType = "wrong-media-type": UNSUPPORTED_MEDIA_TYPE Caller "the body must be `application/json`";
    /// The request can be read, but what it says cannot be done.
    Invalid = "invalid": UNPROCESSABLE_ENTITY Caller "the request means nothing that can be done";
    /// Too many requests in a short time.
    RateLimited = "rate-limited": TOO_MANY_REQUESTS Nobody "too many requests";
    /// The server has a fault, which its log describes.
    Internal = "internal": INTERNAL_SERVER_ERROR Operator "the server has a fault";
    /// Somebody whom the server asked, the sign-in provider or AWS, gave no answer that it can use.
    /// Nothing was done.
    UpstreamUnavailable = "upstream-unavailable": BAD_GATEWAY Operator "another service gave no answer";
    /// The ledger cannot be written. Nothing was done.
    LedgerUnavailable = "ledger-unavailable": SERVICE_UNAVAILABLE Operator "the ledger cannot be written";
    /// The database cannot be reached. Nothing was done.
    StateUnavailable = "state-unavailable": SERVICE_UNAVAILABLE Operator "the database cannot be reached";
    /// The server is starting, stopping or has too much to do. Nothing was done.
    Busy = "busy": SERVICE_UNAVAILABLE Nobody "the server is busy";
}

/// What all types of problems begin with.
const PREFIX: &str = "/problems/";

impl Kind {
    /// Whether the server says that it did nothing, so that another replica may be asked.
    pub const fn undone(self) -> bool {
        matches!(
            self,
            Self::UpstreamUnavailable
                | Self::LedgerUnavailable
                | Self::StateUnavailable
                | Self::Busy
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{PREFIX}{self}"))
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Ok(text.strip_prefix(PREFIX).map_or(Self::Unknown, Self::of))
    }
}

impl JsonSchema for Kind {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ProblemKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let known: Vec<String> = Self::ALL.iter().map(|kind| format!("{PREFIX}{kind}")).collect();
        json_schema!({ "type": "string", "format": "uri-reference", "examples": known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_the_rfc_has_it() {
        let problem = Problem::conflict("version 3 of `orders/prod` is in force already")
            .with_instance("r-17")
            .with_field("version", "is in force");
        let json = serde_json::json!({
            "type": "/problems/conflict",
            "title": "it does not fit what is there",
            "status": 409,
            "detail": "version 3 of `orders/prod` is in force already",
            "who": "caller",
            "instance": "r-17",
            "fields": { "version": "is in force" },
        });
        assert_eq!(serde_json::to_value(&problem).unwrap(), json);
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }

    #[test]
    fn every_kind_comes_back_and_fails() {
        for kind in Kind::ALL {
            let json = serde_json::to_string(kind).unwrap();
            assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), *kind);
            assert!(kind.status().is_client_error() || kind.status().is_server_error(), "{kind}");
            assert!(!kind.undone() || kind.status().is_server_error(), "{kind}");
        }
    }

    #[test]
    fn a_kind_of_a_newer_server_is_kept_as_unknown() {
        for text in [r#""/problems/too-new""#, r#""about:blank""#, r#""""#] {
            assert_eq!(serde_json::from_str::<Kind>(text).unwrap(), Kind::Unknown);
        }
    }
}
