//! Is a signed request the one question that a host may let us ask for it?
//!
//! Whoever sends the request wrote all of it. What we send on is therefore not taken from it but made anew
//! of what was checked: a fixed question to a host of AWS's own STS, and no header that is not signed.

use std::collections::BTreeMap;

use cloud::Region;
use secret::SecretText;

/// A signed request (POST) for `sts:GetCallerIdentity`, to be sent by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// Where it goes.
    pub url: String,
    /// Its headers in lower case, the signature among them.
    pub headers: BTreeMap<String, SecretText>,
    /// Its body.
    pub body: String,
}

/// What a signed request must ask, to the letter.
pub(crate) const QUESTION: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// The header that binds a request to the one who asked for it.
pub(crate) const NONCE: &str = "x-rolecall-nonce";

/// The type of the question.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Every header that may be there, in order; all but the first are signed.
const HEADERS: [&str; 6] =
    ["authorization", "content-type", "host", "x-amz-date", "x-amz-security-token", NONCE];

/// The one header that long-lived keys do not have.
const TOKEN: &str = "x-amz-security-token";

/// The longest value of a header, in bytes. Session tokens are the longest.
const VALUE_MAX: usize = 8 * 1024;

/// A signed request is not the one that a host makes to say who it is. Nothing was sent; whoever asks must
/// act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalRequest {
    /// Not AWS's STS.
    #[error(
        "the request must go to STS of AWS, such as `https://sts.eu-west-1.amazonaws.com/`: `{0}`"
    )]
    Url(String),
    /// Another question, or more than one.
    #[error("the request's body must be `{QUESTION}`")]
    Body,
    /// A header that changes what is asked or answered, or one in another spelling.
    #[error("the request must not have the header `{0}`")]
    Header(String),
    /// A header that is needed.
    #[error("the request must have the header `{0}`")]
    Missing(&'static str),
    /// A header with an illegal value.
    #[error("the request's header `{0}` has a value that it cannot have")]
    Value(&'static str),
    /// A signature for another host than it goes to.
    #[error("the request's header `host` must be the host that it goes to")]
    Host,
    /// Made for somebody else, or for an earlier time.
    #[error("the request's header `{NONCE}` is not the nonce that was given")]
    Nonce,
    /// A signature that does not cover all of it.
    #[error("the request must sign its headers `{0}`, these and no other")]
    NotSigned(String),
    /// Not a signature for STS in the region that it goes to.
    #[error(
        "the request's header `authorization` is not a signature (version 4) for STS of that region"
    )]
    Signature,
}

/// A request that may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked<'a> {
    /// Where to, as this crate spells it.
    pub(crate) url: String,
    /// Every header: ours of the list, with the values that were signed.
    pub(crate) headers: Vec<(&'static str, &'a SecretText)>,
}

/// Checks a request that shall carry `nonce`. `practice` is one endpoint that is legal besides AWS's own.
pub(crate) fn check<'a>(
    request: &'a SignedRequest,
    nonce: &str,
    practice: Option<&str>,
) -> Result<Checked<'a>, IllegalRequest> {
    let place = Place::read(&request.url, practice)
        .ok_or_else(|| IllegalRequest::Url(request.url.chars().take(128).collect()))?;
    if request.body != QUESTION {
        return Err(IllegalRequest::Body);
    }
    let headers = headers(request)?;
    let value = |name: &'static str| {
        let found = headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.expose().as_str()).ok_or(IllegalRequest::Missing(name))
    };
    if value("host")? != place.host {
        return Err(IllegalRequest::Host);
    }
    if value("content-type")? != FORM {
        return Err(IllegalRequest::Value("content-type"));
    }
    if nonce.is_empty() || value(NONCE)? != nonce {
        return Err(IllegalRequest::Nonce);
    }
    let signature = Signature::read(value("authorization")?).ok_or(IllegalRequest::Signature)?;
    let elsewhere = place.region.as_deref().is_some_and(|region| region != signature.region);
    if elsewhere || !value("x-amz-date")?.starts_with(signature.day) {
        return Err(IllegalRequest::Signature);
    }
    let names: Vec<&str> = headers.iter().skip(1).map(|(name, _)| *name).collect();
    let names = names.join(";");
    if signature.headers != names {
        return Err(IllegalRequest::NotSigned(names));
    }
    Ok(Checked { url: place.url, headers })
}

/// The headers in the order of the list, which is that of a signature.
fn headers(request: &SignedRequest) -> Result<Vec<(&'static str, &SecretText)>, IllegalRequest> {
    if let Some(stranger) = request.headers.keys().find(|name| !HEADERS.contains(&name.as_str())) {
        return Err(IllegalRequest::Header(stranger.chars().take(64).collect()));
    }
    let mut found = Vec::with_capacity(HEADERS.len());
    for name in HEADERS {
        match request.headers.get(name) {
            Some(value) if is_value(value.expose()) => found.push((name, value)),
            Some(_) => return Err(IllegalRequest::Value(name)),
            None if name == TOKEN => {}
            None => return Err(IllegalRequest::Missing(name)),
        }
    }
    Ok(found)
}

/// Visible characters with single spaces between: nothing that two readers take for two things.
fn is_value(text: &str) -> bool {
    let legal = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let spaces = text.starts_with(' ') || text.ends_with(' ') || text.contains("  ");
    legal && !spaces && (1..=VALUE_MAX).contains(&text.len())
}

/// Where a request goes.
struct Place {
    url: String,
    host: String,
    /// The region whose STS it is; none where it is for every region.
    region: Option<String>,
}

impl Place {
    fn read(url: &str, practice: Option<&str>) -> Option<Self> {
        if let Some(endpoint) = practice.map(|endpoint| endpoint.trim_end_matches('/'))
            && url.strip_prefix(endpoint).is_some_and(|rest| rest.is_empty() || rest == "/")
        {
            let (_, host) = endpoint.split_once("://")?;
            return Some(Self { url: format!("{endpoint}/"), host: host.to_owned(), region: None });
        }
        let host = url.strip_prefix("https://")?;
        let host = host.strip_suffix('/').unwrap_or(host);
        let region = region_of(host)?;
        Some(Self { url: format!("https://{host}/"), host: host.to_owned(), region })
    }
}

/// The region of a host that is AWS's STS; `Some(None)` for the one without a region.
#[expect(clippy::option_option, reason = "not STS at all, and STS of no region, are two answers")]
fn region_of(host: &str) -> Option<Option<String>> {
    if host == "sts.amazonaws.com" {
        return Some(None);
    }
    let rest = host.strip_prefix("sts.")?;
    let china = rest.strip_suffix(".amazonaws.com.cn");
    let region = china.or_else(|| rest.strip_suffix(".amazonaws.com"))?;
    let legal = is_region(region) && region.starts_with("cn-") == china.is_some();
    legal.then(|| Some(region.to_owned()))
}

/// `eu-west-1`, but not `s3-eu-west-1`: a bucket called `sts` has a host that looks like STS's.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let (first, last) = (parts.next().unwrap_or_default(), parts.next_back().unwrap_or_default());
    let middle: Vec<&str> = parts.collect();
    let letters = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase());
    text.parse::<Region>().is_ok()
        && letters(first)
        && (2..=4).contains(&first.len())
        && !middle.is_empty()
        && middle.into_iter().all(letters)
        && matches!(last.as_bytes(), [b'1'..=b'9'])
}

/// A signature of version 4.
///
/// [AWS: create a signed API request](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)
struct Signature<'a> {
    day: &'a str,
    region: &'a str,
    headers: &'a str,
}

impl<'a> Signature<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
        let (credential, rest) = rest.split_once(", SignedHeaders=")?;
        let (headers, signature) = rest.split_once(", Signature=")?;
        let mut parts = credential.split('/');
        let mut next = || parts.next();
        let (key, day, region) = (next()?, next()?, next()?);
        let scoped = (next()?, next()?, next()) == ("sts", "aws4_request", None);
        let is_key =
            (16..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_day = day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit());
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let is_signature = signature.len() == 64 && signature.bytes().all(hex);
        let legal = scoped && is_key && is_day && is_region(region) && is_signature;
        legal.then_some(Self { day, region, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://sts.eu-west-1.amazonaws.com/";
    const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
        Credential=ASIAIOSFODNN7EXAMPLE/20260301/eu-west-1/sts/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-rolecall-nonce, \
        Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn request() -> SignedRequest {
        let headers = [
            ("authorization", AUTHORIZATION),
            ("content-type", FORM),
            ("host", "sts.eu-west-1.amazonaws.com"),
            ("x-amz-date", "20260301T000000Z"),
            ("x-amz-security-token", "token"),
            (NONCE, "nonce-1"),
        ];
        let header = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned().into());
        let headers = headers.map(header).into();
        SignedRequest { url: URL.to_owned(), headers, body: QUESTION.to_owned() }
    }

    #[track_caller]
    fn check_request(request: &SignedRequest, expected: Result<(), &IllegalRequest>) {
        assert_eq!(check(request, "nonce-1", None).as_ref().map(|_| ()), expected);
    }

    #[track_caller]
    fn check_url(url: &str, legal: bool) {
        let host = url.trim_start_matches("https://").trim_end_matches('/');
        let region = region_of(host).flatten().unwrap_or_else(|| "us-east-1".to_owned());
        let mut request = SignedRequest { url: url.to_owned(), ..request() };
        put(&mut request, "host", host);
        put(&mut request, "authorization", &AUTHORIZATION.replace("eu-west-1", &region));
        let illegal = IllegalRequest::Url(url.to_owned());
        check_request(&request, if legal { Ok(()) } else { Err(&illegal) });
    }

    #[track_caller]
    fn check_header(name: &str, value: &str, expected: &IllegalRequest) {
        let mut request = request();
        put(&mut request, name, value);
        check_request(&request, Err(expected));
    }

    #[track_caller]
    fn check_signature(from: &str, to: &str, expected: &IllegalRequest) {
        assert!(AUTHORIZATION.contains(from));
        check_header("authorization", &AUTHORIZATION.replace(from, to), expected);
    }

    fn put(request: &mut SignedRequest, name: &str, value: &str) {
        request.headers.insert(name.to_owned(), value.to_owned().into());
    }

    #[test]
    fn the_one_question_may_be_asked() {
        check_request(&request(), Ok(()));
        let mut long_lived = request();
        long_lived.headers.remove(TOKEN);
        let signed = AUTHORIZATION.replace(";x-amz-security-token", "");
        put(&mut long_lived, "authorization", &signed);
        check_request(&long_lived, Ok(()));
    }

    #[test]
    fn it_goes_to_sts_of_aws_alone() {
        check_url("https://sts.eu-west-1.amazonaws.com", true);
        check_url("https://sts.amazonaws.com/", true);
        check_url("https://sts.us-gov-west-1.amazonaws.com/", true);
        check_url("https://sts.us-iso-east-1.amazonaws.com/", true);
        check_url("https://sts.cn-north-1.amazonaws.com.cn/", true);
        check_url("http://sts.eu-west-1.amazonaws.com/", false);
        check_url("https://sts.eu-west-1.amazonaws.com.example.com/", false);
        check_url("https://sts.eu-west-1.example.com/", false);
        check_url("https://example.com/sts.eu-west-1.amazonaws.com/", false);
        check_url("https://user@sts.eu-west-1.amazonaws.com/", false);
        check_url("https://sts.eu-west-1.amazonaws.com:8443/", false);
        check_url("https://sts.eu-west-1.amazonaws.com:443/", false);
        check_url("https://sts.eu-west-1.amazonaws.com//", false);
        check_url("https://sts.eu-west-1.amazonaws.com/?Action=AssumeRole", false);
        check_url("https://sts.eu-west-1.amazonaws.com/#x", false);
        check_url("https://sts.eu-west-1.amazonaws.com\\@example.com/", false);
        check_url("https://STS.eu-west-1.amazonaws.com/", false);
        check_url("https://sts.evil.eu-west-1.amazonaws.com/", false);
        check_url("https://sts..amazonaws.com/", false);
        check_url("https://sts.cn-north-1.amazonaws.com/", false);
        check_url("https://sts.eu-west-1.amazonaws.com.cn/", false);
    }

    #[test]
    fn a_bucket_that_is_called_like_the_service_is_not_the_service() {
        check_url("https://sts.s3.amazonaws.com/", false);
        check_url("https://sts.s3-eu-west-1.amazonaws.com/", false);
        check_url("https://sts.s3-website-eu-west-1.amazonaws.com/", false);
        check_url("https://sts.s3-accelerate.amazonaws.com/", false);
        check_url("https://sts.execute-api.amazonaws.com/", false);
    }

    #[test]
    fn a_practice_endpoint_is_legal_where_the_operator_says_so() {
        let mut request = SignedRequest { url: "http://127.0.0.1:5000/".to_owned(), ..request() };
        put(&mut request, "host", "127.0.0.1:5000");
        let practice = Some("http://127.0.0.1:5000");
        assert!(check(&request, "nonce-1", practice).is_ok());
        assert!(check(&request, "nonce-1", None).is_err());
        for elsewhere in ["http://127.0.0.1:5000.example.com/", "http://127.0.0.1:50001/"] {
            let request = SignedRequest { url: elsewhere.to_owned(), ..request.clone() };
            assert!(matches!(check(&request, "nonce-1", practice), Err(IllegalRequest::Url(_))));
        }
    }

    #[test]
    fn nothing_else_is_asked() {
        for body in [
            "",
            "Action=GetCallerIdentity",
            "Action=GetCallerIdentity&Version=2011-06-15&Action=AssumeRole",
            "Action=AssumeRole&Action=GetCallerIdentity&Version=2011-06-15",
            "Action=GetCallerIdentity&Version=2011-06-15\n",
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15",
        ] {
            let request = SignedRequest { body: body.to_owned(), ..request() };
            check_request(&request, Err(&IllegalRequest::Body));
        }
    }

    #[test]
    fn a_header_that_changes_the_question_or_the_answer_is_refused() {
        for name in ["accept", "x-amz-target", "x-http-method-override", "expect", "content-length"]
        {
            check_header(name, "any", &IllegalRequest::Header(name.to_owned()));
        }
        // The same header in another spelling would be sent twice.
        for name in ["X-Rolecall-Nonce", "Host", "x-rolecall-nonce "] {
            check_header(name, "nonce-1", &IllegalRequest::Header(name.to_owned()));
        }
        check_header("content-type", "application/json", &IllegalRequest::Value("content-type"));
    }

    #[test]
    fn a_value_has_one_reading() {
        for value in ["", " nonce-1", "nonce-1 ", "a  b", "a\r\nhost: b", "a\tb", "\u{e9}"] {
            check_header(NONCE, value, &IllegalRequest::Value(NONCE));
        }
        check_header(TOKEN, &"t".repeat(VALUE_MAX + 1), &IllegalRequest::Value(TOKEN));
    }

    #[test]
    fn the_host_that_was_signed_is_the_host_that_it_goes_to() {
        check_header("host", "sts.amazonaws.com", &IllegalRequest::Host);
        check_header("host", "sts.eu-west-1.amazonaws.com:443", &IllegalRequest::Host);
        check_header("host", "example.com", &IllegalRequest::Host);
    }

    #[test]
    fn a_request_that_was_made_for_another_nonce_is_refused() {
        check_header(NONCE, "nonce-2", &IllegalRequest::Nonce);
        check_header(NONCE, "nonce-1, nonce-2", &IllegalRequest::Nonce);
        assert_eq!(check(&request(), "", None), Err(IllegalRequest::Nonce));
    }

    #[test]
    fn every_header_is_there_and_signed() {
        for name in ["authorization", "content-type", "host", "x-amz-date", NONCE] {
            let mut request = request();
            request.headers.remove(name);
            check_request(&request, Err(&IllegalRequest::Missing(name)));
        }
        let all = "content-type;host;x-amz-date;x-amz-security-token;x-rolecall-nonce";
        let not_signed = || IllegalRequest::NotSigned(all.to_owned());
        check_signature(";x-rolecall-nonce", "", &not_signed());
        check_signature("content-type;host;", "content-type;", &not_signed());
        check_signature(";x-rolecall-nonce", ";x-rolecall-nonce;x-rolecall-nonce", &not_signed());
        check_signature("content-type;host", "host;content-type", &not_signed());
        check_signature("x-rolecall-nonce", "X-Rolecall-Nonce", &not_signed());
    }

    #[test]
    fn the_signature_is_one_for_sts_in_that_region() {
        check_signature("/sts/", "/s3/", &IllegalRequest::Signature);
        check_signature("/eu-west-1/", "/us-east-1/", &IllegalRequest::Signature);
        check_signature("/20260301/", "/20260302/", &IllegalRequest::Signature);
        check_signature("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", &IllegalRequest::Signature);
        check_signature("aws4_request", "aws4_request/more", &IllegalRequest::Signature);
        check_signature("Signature=0", "Signature=G", &IllegalRequest::Signature);
        check_signature("Signature=0", "Signature=", &IllegalRequest::Signature);
    }
}
