/// A request as an HTTP server parsed it: the method, the target as it was sent, and the few
/// headers that decide, picked once.
///
/// It has no `Debug`: target and headers may carry a bearer secret.
///
/// ```
/// # use metadata::Request;
/// let headers = [("host", b"169.254.169.254".as_slice())];
/// let request = Request::new("GET", "/latest/meta-data/instance-id", headers);
/// assert!(!request.head());
/// ```
pub struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) target: &'a str,
    pub(crate) host: Sent<'a>,
    pub(crate) token: Sent<'a>,
    pub(crate) ttl: Sent<'a>,
    pub(crate) authorization: Sent<'a>,
    pub(crate) forwarded: bool,
}

impl<'a> Request<'a> {
    /// Picks what decides. `target` is the request target byte for byte, query included; header
    /// names may be in any case.
    pub fn new(
        method: &str,
        target: &'a str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let mut request = Self {
            method: Method::parse(method),
            target,
            host: Sent::Absent,
            token: Sent::Absent,
            ttl: Sent::Absent,
            authorization: Sent::Absent,
            forwarded: false,
        };
        for (name, value) in headers {
            request.pick(name, value.trim_ascii());
        }
        request
    }

    fn pick(&mut self, name: &str, value: &'a [u8]) {
        let slot = if name.eq_ignore_ascii_case(TOKEN) {
            &mut self.token
        } else if name.eq_ignore_ascii_case("host") {
            &mut self.host
        } else if name.eq_ignore_ascii_case("authorization") {
            &mut self.authorization
        } else if name.eq_ignore_ascii_case(TOKEN_TTL) {
            &mut self.ttl
        } else {
            self.forwarded |= name.eq_ignore_ascii_case("x-forwarded-for");
            return;
        };
        *slot = match slot {
            Sent::Absent => Sent::Once(value),
            Sent::Once(_) | Sent::Repeated => Sent::Repeated,
        };
    }

    /// Whether the method is HEAD: the answer's body is not sent, only its length.
    pub fn head(&self) -> bool {
        self.method == Method::Head
    }

    /// Whether a header that decides came more than once, so that two parsers could disagree.
    pub(crate) fn ambiguous(&self) -> bool {
        [self.host, self.token, self.ttl, self.authorization].contains(&Sent::Repeated)
    }
}

/// The header that carries a session token.
pub(crate) const TOKEN: &str = "x-aws-ec2-metadata-token";
/// The header that asks for a session token's life, in seconds.
pub(crate) const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// How often a header came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent<'a> {
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Sent<'a> {
    pub(crate) fn once(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }
}

/// A method that some door treats in its own way. Methods are case sensitive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Put,
    Options,
    Other,
}

impl Method {
    fn parse(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }

    pub(crate) fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}
