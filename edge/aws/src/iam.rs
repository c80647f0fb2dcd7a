use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_types::body::SdkBody;
use cloud::{Arn, Partition, Region, RoleArn};

use crate::{
    AskError, HostCredentials,
    https::{Answer, Post, innermost},
    signed::FORM,
    xml::{self, Illegible},
};

/// How IAM is reached.
#[derive(Clone, Debug)]
pub struct IamSettings {
    /// The partition, whose IAM is one for all regions.
    pub partition: Partition,
    /// The region that this program is in, for finding credentials.
    pub region: Region,
    /// Another endpoint than AWS's own, such as a practice cloud.
    pub endpoint: Option<String>,
    /// How long one call may take.
    pub timeout: Duration,
    /// Where the credentials come from. What is read is in their account.
    pub credentials: HostCredentials,
}

/// IAM of one account, read only.
///
/// Two questions are asked and SigV4 is a library, so the SDK's client of IAM, the largest of all, is not linked
/// into every program that asks AWS for anything.
#[derive(Clone, Debug)]
pub struct Iam {
    post: Post,
    credentials: Option<SharedCredentialsProvider>,
    endpoint: String,
    /// The region that IAM's signatures are for.
    region: &'static str,
}

/// An OIDC provider, as an account has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcProvider {
    /// The issuer's address without its scheme.
    pub url: String,
    /// The audiences that it takes.
    pub client_ids: Vec<String>,
    /// The certificates that it was told to trust. IAM uses its own list for most issuers.
    pub thumbprints: Vec<String>,
}

/// What a role says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleTrust {
    /// Its ARN.
    pub arn: RoleArn,
    /// Who may have it: its trust policy, as JSON.
    pub policy: String,
    /// Its longest session, in seconds.
    pub longest_session_s: u32,
}

const SERVICE: &str = "IAM";
/// The namespace of IAM's answers.
const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
/// The longest session of a role that says nothing, in seconds.
const LONGEST_SESSION_S: u32 = 3600;

impl Iam {
    /// Prepares to ask; asks nobody.
    pub async fn new(settings: &IamSettings) -> Self {
        let (endpoint, region) = match settings.partition.as_str() {
            "aws-cn" => ("https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            "aws-us-gov" => ("https://iam.us-gov.amazonaws.com", "us-gov-west-1"),
            _ => ("https://iam.amazonaws.com", "us-east-1"),
        };
        let endpoint = settings.endpoint.as_deref().unwrap_or(endpoint).trim_end_matches('/');
        Self {
            post: Post::new(settings.timeout),
            credentials: settings.credentials.provider(&settings.region, None).await,
            endpoint: endpoint.to_owned(),
            region,
        }
    }

    /// An OIDC provider by its ARN, or `None` where the account has no such.
    ///
    /// # Errors
    /// By who must act: see [`AskError`].
    pub async fn provider(&self, arn: &Arn) -> Result<Option<OidcProvider>, AskError> {
        let arn = arn.to_string();
        let asked = [("OpenIDConnectProviderArn", arn.as_str())];
        match self.ask("GetOpenIDConnectProvider", &asked).await? {
            Some(answer) => read_provider(&answer.body).map(Some).map_err(illegible),
            None => Ok(None),
        }
    }

    /// A role, or `None` where the account has no such.
    ///
    /// # Errors
    /// By who must act: see [`AskError`].
    pub async fn role(&self, role: &RoleArn) -> Result<Option<RoleTrust>, AskError> {
        let found = match self.ask("GetRole", &[("RoleName", role.name())]).await? {
            Some(answer) => read_role(&answer.body).map_err(illegible)?,
            None => return Ok(None),
        };
        // A name is unique in an account: another ARN is another account's, or has another path.
        Ok(Some(found).filter(|found| found.arn == *role))
    }

    /// The answer, or `None` where IAM says that there is no such thing.
    async fn ask(&self, action: &str, asked: &[(&str, &str)]) -> Result<Option<Answer>, AskError> {
        let mut body = format!("Action={action}&Version=2010-05-08");
        for (name, value) in asked {
            body.push('&');
            body += name;
            body.push('=');
            encode(value, &mut body);
        }
        let request = self.signed(body).await?;
        let unavailable = |reason| AskError::Unavailable { service: SERVICE, reason };
        let answer = self.post.send(request).await.map_err(unavailable)?;
        match (answer.status, xml::error(&answer.body)) {
            (200, _) => Ok(Some(answer)),
            (404, Some((code, _))) if code == "NoSuchEntity" => Ok(None),
            (400..500, Some((code, message))) => Err(AskError::of(SERVICE, &code, &message)),
            (status, _) => Err(unavailable(format!("status {status}"))),
        }
    }

    async fn signed(&self, body: String) -> Result<http::Request<SdkBody>, AskError> {
        let none = |reason: String| AskError::NoCredentials { service: SERVICE, reason };
        let provider = self.credentials.as_ref();
        let provider = provider.ok_or_else(|| none("none are configured".to_owned()))?;
        let credentials = provider.provide_credentials().await;
        let signer = credentials.map_err(|error| none(innermost(&error)))?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&signer)
            .region(self.region)
            .name("iam")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| none(error.to_string()))?
            .into();
        let url = format!("{}/", self.endpoint);
        let headers = [("content-type", FORM)];
        let signable = SignableRequest::new(
            "POST",
            url.as_str(),
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        );
        let signed = signable.and_then(|request| sign(request, &parameters));
        let (instructions, _) = signed.map_err(|error| none(error.to_string()))?.into_parts();
        let mut request = http::Request::post(url.as_str());
        for (name, value) in headers.into_iter().chain(instructions.headers()) {
            request = request.header(name, value);
        }
        request.body(SdkBody::from(body)).map_err(|error| none(error.to_string()))
    }
}

fn illegible(Illegible(reason): Illegible) -> AskError {
    AskError::Illegible { service: SERVICE, reason }
}

fn read_provider(body: &[u8]) -> Result<OidcProvider, Illegible> {
    let document = xml::document(body, (NAMESPACE, "GetOpenIDConnectProviderResponse"))?;
    let result = xml::only(document.root_element(), "GetOpenIDConnectProviderResult")?;
    let members = |name: &str| -> Result<Vec<String>, Illegible> {
        let list = xml::only(result, name)?;
        list.children().filter(roxmltree::Node::is_element).map(xml::plain).collect()
    };
    Ok(OidcProvider {
        url: xml::text(result, "Url")?,
        client_ids: members("ClientIDList")?,
        thumbprints: members("ThumbprintList")?,
    })
}

fn read_role(body: &[u8]) -> Result<RoleTrust, Illegible> {
    let document = xml::document(body, (NAMESPACE, "GetRoleResponse"))?;
    let result = xml::only(document.root_element(), "GetRoleResult")?;
    let role = xml::only(result, "Role")?;
    let arn = xml::text(role, "Arn")?;
    let arn = arn.parse().map_err(|_| Illegible("it names no role".to_owned()))?;
    let policy = decode(&xml::text(role, "AssumeRolePolicyDocument")?);
    let policy = policy.ok_or_else(|| Illegible("its trust policy is not text".to_owned()))?;
    let longest = match xml::text(role, "MaxSessionDuration") {
        Ok(text) => text.parse().map_err(|_| Illegible("a session has no length".to_owned()))?,
        Err(_) => LONGEST_SESSION_S,
    };
    Ok(RoleTrust { arn, policy, longest_session_s: longest })
}

/// Percent-encodes as AWS's query protocol wants it: everything but letters, digits and `-_.~`.
fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            // A string takes whatever is written.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}

/// IAM percent-encodes policies (RFC 3986). Text that is not encoded comes back as it is.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        for text in ["", "{\"a\": [\"b*\"]}", "100 %", "\u{e9}~x"] {
            let mut encoded = String::new();
            encode(text, &mut encoded);
            assert!(encoded.bytes().all(|b| b.is_ascii_graphic()));
            assert_eq!(decode(&encoded).as_deref(), Some(text));
        }
        for damaged in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(damaged), None);
        }
    }

    #[test]
    fn a_role_says_who_may_have_it() {
        let answer = format!(
            "<GetRoleResponse xmlns=\"{NAMESPACE}\"><GetRoleResult><Role><Path>/</Path>\
             <Arn>arn:aws:iam::111122223333:role/orders</Arn>\
             <AssumeRolePolicyDocument>%7B%22Version%22%3A%222012-10-17%22%7D</AssumeRolePolicyDocument>\
             <MaxSessionDuration>7200</MaxSessionDuration></Role></GetRoleResult></GetRoleResponse>"
        );
        let role = read_role(answer.as_bytes()).unwrap();
        assert_eq!(role.policy, r#"{"Version":"2012-10-17"}"#);
        assert_eq!((role.arn.name(), role.longest_session_s), ("orders", 7200));
        for (from, to) in [("GetRoleResult", "Other"), ("arn:aws:iam", "arn:aws:s3"), ("%7B", "%7")]
        {
            assert!(read_role(answer.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn a_provider_says_which_audiences_it_takes() {
        let answer = format!(
            "<GetOpenIDConnectProviderResponse xmlns=\"{NAMESPACE}\"><GetOpenIDConnectProviderResult>\
             <ThumbprintList> <member>{zeros}</member> </ThumbprintList><Url>oidc.example.com</Url>\
             <ClientIDList><member>a</member><member>b</member></ClientIDList>\
             </GetOpenIDConnectProviderResult></GetOpenIDConnectProviderResponse>",
            zeros = "0".repeat(40)
        );
        let provider = read_provider(answer.as_bytes()).unwrap();
        assert_eq!(provider.url, "oidc.example.com");
        assert_eq!(provider.client_ids, ["a", "b"]);
        assert_eq!(provider.thumbprints, ["0".repeat(40)]);
    }
}
