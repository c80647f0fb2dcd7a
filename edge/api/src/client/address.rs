use std::{fmt, str::FromStr};

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

/// Where a server answers: `https://rolecall.example.com:8443`. There is no other scheme.
///
/// ```
/// # use api::client::Address;
/// assert_eq!("https://one.example:8443/".parse::<Address>().unwrap().to_string(), "https://one.example:8443");
/// assert!("http://one.example".parse::<Address>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address(Authority);

/// The text is not a server's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server's address looks like `https://rolecall.example.com:8443`, not like `{0}`")]
pub struct InvalidAddress(String);

/// As much of a wrong address as its error repeats, in characters.
const EXCERPT: usize = 128;

impl Address {
    /// The host's name or number, as its certificate must say it. Brackets of an IPv6 address are kept.
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// The address of something on the server. `target` begins with a slash.
    pub(crate) fn join(&self, target: &str) -> Result<Uri, http::Error> {
        let target = PathAndQuery::try_from(target)?;
        Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.0.clone())
            .path_and_query(target)
            .build()
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        // What stands before an `@` may be a password, so it is not repeated.
        let wrong = || {
            let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
            InvalidAddress(shown.chars().take(EXCERPT).flat_map(char::escape_debug).collect())
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|authority| is_plain(authority));
        let bare = uri.path_and_query().is_none_or(|path| path == "/");
        match authority {
            Some(authority)
                if uri.scheme() == Some(&Scheme::HTTPS) && bare && !text.contains('#') =>
            {
                Ok(Self(authority.clone()))
            }
            _ => Err(wrong()),
        }
    }
}

/// Whether it is a host and perhaps a port, and nothing besides.
fn is_plain(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => !authority.host().is_empty(),
        Some(port) => {
            let port = port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok());
            !authority.host().is_empty() && port.is_some_and(|port| port > 0)
        }
        None => false,
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, printed: Option<&str>) {
        let address = text.parse::<Address>().ok();
        assert_eq!(address.map(|address| address.to_string()).as_deref(), printed, "{text}");
    }

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_port() {
        check("https://rolecall.example.com", Some("https://rolecall.example.com"));
        check("https://127.0.0.1:8443/", Some("https://127.0.0.1:8443"));
        check("https://[::1]:8443", Some("https://[::1]:8443"));
        for wrong in [
            "",
            "rolecall.example.com",
            "http://rolecall.example.com",
            "https://",
            "https:///v1",
            "https://a.example/v1",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://ann:word@a.example",
            "https://a.example:99999",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let wrong = "https://ann:hunter2@a.example".parse::<Address>().unwrap_err();
        assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
    }
}
