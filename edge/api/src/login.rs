//! How people sign in, and who they are then.

use jiff::Timestamp;
use schemars::JsonSchema;
use secret::SecretText;
use serde::{Deserialize, Serialize};

use crate::{Access, Action, endpoint::Form, endpoint::endpoints, hidden, people::Person};

/// The name of the cookie that holds a browser's session.
pub const COOKIE: &str = "__Host-rolecall";

/// The header that a browser's requests must carry when they change something.
pub const CSRF_HEADER: &str = "x-rolecall-csrf";

/// What the text of a session begins with.
pub const SESSION_PREFIX: &str = "rcs_";

/// What the text of a first admin's one-time token begins with.
pub const FIRST_ADMIN_PREFIX: &str = "rca_";

/// A one-time token to sign in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenLogin {
    /// The token that the server printed when it started first.
    #[serde(with = "hidden")]
    #[schemars(with = "String")]
    pub token: SecretText,
}

/// A session: whoever holds its token is the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// What to send as `Authorization: Bearer …`.
    #[serde(with = "hidden")]
    #[schemars(with = "String")]
    pub token: SecretText,
    /// When it ends at the latest. It ends sooner when it is not used for an hour.
    pub expires: Timestamp,
    /// Whose it is.
    pub person: Person,
}

/// A sign-in that waits for a person to allow it in a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceLogin {
    /// What to ask about it with. Keep it to yourself.
    #[serde(with = "hidden")]
    #[schemars(with = "String")]
    pub handle: SecretText,
    /// The code that the person types there.
    pub user_code: String,
    /// Where the person goes.
    pub verification_uri: String,
    /// The same with the code in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// How long to wait before asking, and between asking, in seconds.
    pub interval_s: u32,
    /// When it ends.
    pub expires: Timestamp,
}

/// A sign-in that is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceHandle {
    /// The handle that the server gave.
    #[serde(with = "hidden")]
    #[schemars(with = "String")]
    pub handle: SecretText,
}

/// What became of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum DevicePoll {
    /// The person has not said anything yet.
    Pending {
        /// How long to wait before asking again, in seconds.
        interval_s: u32,
    },
    /// The person has allowed it.
    SignedIn {
        /// The session.
        session: Session,
    },
}

/// Where a browser shall be after it signed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrowserAsked {
    /// A path of this server; `/` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<String>,
}

/// What the sign-in provider sends a browser back with. What else it adds is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallbackAsked {
    /// The code that the server redeems.
    #[serde(default, with = "hidden::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub code: Option<SecretText>,
    /// What ties it to the browser that began.
    #[serde(default, with = "hidden::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub state: Option<SecretText>,
    /// Why the provider said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The person.
    pub person: Person,
    /// When the session ends at the latest.
    pub expires: Timestamp,
    /// What the policies let the person do to something at least.
    pub actions: Vec<Action>,
    /// What a browser sends as `X-Rolecall-CSRF` when it changes something; absent where the session is
    /// not in a cookie.
    #[serde(default, with = "hidden::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub csrf: Option<SecretText>,
}

endpoints! {
    /// Signs in with the one-time token that the server printed when it started first.
    LoginByToken = "login-by-token": POST "/v1/login/token", Access::Open,
        body TokenLogin, answer Session;

    /// Begins a sign-in on a device without a browser.
    ///
    /// [RFC 8628](https://www.rfc-editor.org/rfc/rfc8628)
    BeginDeviceLogin = "begin-device-login": POST "/v1/login/device", Access::Open,
        answer DeviceLogin, repeatable true;

    /// Asks what became of a sign-in on a device without a browser.
    PollDeviceLogin = "poll-device-login": POST "/v1/login/device/poll", Access::Open,
        body DeviceHandle, answer DevicePoll;

    /// Sends a browser to the sign-in provider.
    LoginByBrowser = "login-by-browser": GET "/v1/login/browser", Access::Open,
        query BrowserAsked, form Form::Browser;

    /// Takes a browser back from the sign-in provider, and signs it in by a cookie.
    FinishBrowserLogin = "finish-browser-login": GET "/v1/login/callback", Access::Open,
        query CallbackAsked, form Form::Browser;

    /// Tells who asks.
    ReadMe = "me": GET "/v1/me", Access::Person(Action::View), answer Me;

    /// Ends the session.
    Logout = "logout": POST "/v1/logout", Access::Person(Action::View), repeatable true;
}
