//! What an endpoint is: one type, from which the server routes, the client calls and the document is
//! made.

use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Problem,
    path::{self, Unfit},
};

/// The largest body of a request, in bytes, where an endpoint does not say otherwise.
pub const BODY_MAX: usize = 1024 * 1024;

/// One endpoint of the server.
///
/// Bodies and queries refuse fields that they do not know, so that a misspelt word does not pass in
/// silence: **a server is upgraded before those who call it**. Answers are read without minding unknown
/// fields, so that an older agent can read a newer server.
///
/// Where [`Endpoint::Path`], [`Endpoint::Query`] or [`Endpoint::Body`] is `()` there is none. An answer
/// whose JSON would be `null` (`()`, or `None`) is the status 204 without a body, and any other 200.
pub trait Endpoint: Send + Sync + 'static {
    /// What people and documents call it: `propose-binding`.
    const NAME: &'static str;
    /// The method.
    const METHOD: Method;
    /// The path, with a name in braces for each part that varies: `/v1/groups/{group}`.
    const PATH: &'static str;
    /// Who may ask.
    const ACCESS: Access;
    /// What it does, in one line.
    const SUMMARY: &'static str;
    /// What it does, with all that a caller should know.
    const DESCRIPTION: &'static str;
    /// Whether the same request may be sent again when nobody knows what became of the first, although
    /// the method alone does not promise it.
    const REPEATABLE: bool = false;
    /// The largest body, in bytes.
    const BODY_MAX: usize = BODY_MAX;
    /// What a good answer looks like.
    const FORM: Form = Form::Json;

    /// The parts of the path.
    type Path: Serialize + DeserializeOwned + JsonSchema + Send;
    /// What stands behind the question mark.
    type Query: Serialize + DeserializeOwned + JsonSchema + Send;
    /// The body, as JSON.
    type Body: Serialize + DeserializeOwned + JsonSchema + Send;
    /// The answer, as JSON.
    type Answer: Serialize + DeserializeOwned + JsonSchema + Send;

    /// Whether a request may be sent again when nobody knows what became of the first.
    fn repeatable() -> bool {
        Self::REPEATABLE || Self::METHOD.is_idempotent()
    }

    /// The path and query to ask for.
    ///
    /// # Errors
    /// When a part cannot stand in a path: it is empty, `.` or `..`.
    fn target(path: &Self::Path, query: &Self::Query) -> Result<String, Unfit> {
        let path = path::build(Self::PATH, path)?;
        let query = serde_urlencoded::to_string(query)?;
        Ok(if query.is_empty() { path } else { format!("{path}?{query}") })
    }

    /// Reads the parts of a path that fits [`Endpoint::PATH`].
    ///
    /// # Errors
    /// When a part is not what it should be, which the caller must mend.
    fn read_path(path: &str) -> Result<Self::Path, Problem> {
        path::read(Self::PATH, path)
            .map_err(|error| Problem::malformed(format!("the path `{path}`: {error}")))
    }

    /// Reads what stands behind the question mark; `None` where there is none.
    ///
    /// # Errors
    /// When a field is unknown or not what it should be, which the caller must mend.
    fn read_query(query: Option<&str>) -> Result<Self::Query, Problem> {
        serde_urlencoded::from_str(query.unwrap_or_default())
            .map_err(|error| Problem::malformed(format!("the query: {error}")))
    }

    /// Reads the body.
    ///
    /// # Errors
    /// When it is not JSON, or a field is unknown, absent or not what it should be, which the caller
    /// must mend.
    fn read_body(body: &[u8]) -> Result<Self::Body, Problem> {
        let body = if body.is_empty() { NOTHING } else { body };
        serde_json::from_slice(body)
            .map_err(|error| Problem::malformed(format!("the body: {error}")))
    }
}

/// What is written as an empty body.
pub(crate) const NOTHING: &[u8] = b"null";

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody who reaches the server.
    Open,
    /// A host that shows a certificate of the server's own authority.
    Agent,
    /// A person who is signed in and whom the policies let do this.
    Person(Action),
}

/// What a person may be allowed to do: the actions that policies speak of.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    JsonSchema,
)]
pub enum Action {
    /// See everything but the ledger.
    View,
    /// Say which applications and accounts there are and who owns them.
    ManageApplications,
    /// Propose which role an application gets, or take such a proposal back.
    ProposeBinding,
    /// Approve or reject what somebody else proposed.
    ReviewBinding,
    /// Set and clear positions of the switch.
    FlipSwitch,
    /// Let hosts join, say what they may run, and revoke them.
    ManageHosts,
    /// Add, rotate and retire the issuer's keys.
    ManageIssuer,
    /// Read the ledger.
    ReadLedger,
    /// Say who is in which group, and shut people out.
    ManagePeople,
    /// Change the policies themselves.
    ManagePolicies,
}

impl Action {
    /// Every action.
    pub const ALL: &'static [Self] = &[
        Self::View,
        Self::ManageApplications,
        Self::ProposeBinding,
        Self::ReviewBinding,
        Self::FlipSwitch,
        Self::ManageHosts,
        Self::ManageIssuer,
        Self::ReadLedger,
        Self::ManagePeople,
        Self::ManagePolicies,
    ];

    /// The action's id in policies: `FlipSwitch`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "View",
            Self::ManageApplications => "ManageApplications",
            Self::ProposeBinding => "ProposeBinding",
            Self::ReviewBinding => "ReviewBinding",
            Self::FlipSwitch => "FlipSwitch",
            Self::ManageHosts => "ManageHosts",
            Self::ManageIssuer => "ManageIssuer",
            Self::ReadLedger => "ReadLedger",
            Self::ManagePeople => "ManagePeople",
            Self::ManagePolicies => "ManagePolicies",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a good answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON, or nothing.
    Json,
    /// For a person's browser: a redirect (303), or a page that says what went wrong.
    Browser,
}

/// An endpoint as data, for whoever walks through all of them.
#[derive(Clone, Debug)]
pub struct Described {
    /// [`Endpoint::NAME`].
    pub name: &'static str,
    /// [`Endpoint::METHOD`].
    pub method: Method,
    /// [`Endpoint::PATH`].
    pub path: &'static str,
    /// [`Endpoint::ACCESS`].
    pub access: Access,
    /// [`Endpoint::SUMMARY`].
    pub summary: &'static str,
    /// [`Endpoint::DESCRIPTION`].
    pub description: &'static str,
    /// [`Endpoint::BODY_MAX`].
    pub body_max: usize,
    /// [`Endpoint::FORM`].
    pub form: Form,
    /// The shapes of what goes in and comes out.
    pub schemas: fn(&mut SchemaGenerator) -> Schemas,
}

/// The shapes of what goes into an endpoint and comes out. The schema of `()` is that of `null`.
#[derive(Clone, Debug)]
pub struct Schemas {
    /// Of [`Endpoint::Path`].
    pub path: Schema,
    /// Of [`Endpoint::Query`].
    pub query: Schema,
    /// Of [`Endpoint::Body`].
    pub body: Schema,
    /// Of [`Endpoint::Answer`].
    pub answer: Schema,
}

impl Described {
    /// The endpoint `E` as data.
    pub const fn of<E: Endpoint>() -> Self {
        Self {
            name: E::NAME,
            method: E::METHOD,
            path: E::PATH,
            access: E::ACCESS,
            summary: E::SUMMARY,
            description: E::DESCRIPTION,
            body_max: E::BODY_MAX,
            form: E::FORM,
            schemas: |generator| Schemas {
                // Parameters are told one by one, so their schema is wanted itself, not a reference.
                path: E::Path::json_schema(generator),
                query: E::Query::json_schema(generator),
                body: generator.subschema_for::<E::Body>(),
                answer: generator.subschema_for::<E::Answer>(),
            },
        }
    }
}

/// Declares endpoints: what the documentation says becomes the summary and the description.
///
/// ```text
/// endpoints! {
///     /// Lists what hosts may run, by group.
///     ListGroups = "list-groups": GET "/v1/groups", Access::Open, query Asked, answer Page<Group>;
/// }
/// ```
///
/// `path`, `query`, `body` and `answer` come in this order, and one that is left out is `()`. Then may
/// come `repeatable`, `body_max` and `form`, where they differ from what the trait says.
macro_rules! endpoints {
    ($(
        #[doc = $summary:literal]
        $(#[doc = $more:literal])*
        $type:ident = $name:literal: $method:ident $at:literal, $access:expr
            $(, path $path:ty)?
            $(, query $query:ty)?
            $(, body $body:ty)?
            $(, answer $answer:ty)?
            $(, repeatable $repeatable:literal)?
            $(, body_max $body_max:expr)?
            $(, form $form:expr)?;
    )+) => {$(
        #[doc = $summary]
        $(#[doc = $more])*
        #[derive(Clone, Copy, Debug)]
        pub struct $type;

        impl $crate::Endpoint for $type {
            const NAME: &'static str = $name;
            const METHOD: http::Method = http::Method::$method;
            const PATH: &'static str = $at;
            const ACCESS: $crate::Access = $access;
            const SUMMARY: &'static str = $summary.trim_ascii();
            const DESCRIPTION: &'static str = concat!($summary $(, "\n", $more)*).trim_ascii();
            $(const REPEATABLE: bool = $repeatable;)?
            $(const BODY_MAX: usize = $body_max;)?
            $(const FORM: $crate::Form = $form;)?

            type Path = $crate::endpoint::or_nothing!($($path)?);
            type Query = $crate::endpoint::or_nothing!($($query)?);
            type Body = $crate::endpoint::or_nothing!($($body)?);
            type Answer = $crate::endpoint::or_nothing!($($answer)?);
        }
    )+};
}

macro_rules! or_nothing {
    () => {
        ()
    };
    ($type:ty) => {
        $type
    };
}

pub(crate) use {endpoints, or_nothing};
