use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity as Signer;
use aws_smithy_types::body::SdkBody;
use cloud::{AccountId, Arn, Region, RoleSession};

use crate::{
    AskError, IllegalRequest, SignedRequest, StsError, StsSettings,
    https::{Answer, Post},
    signed::{self, FORM, NONCE, QUESTION},
    xml::{self, Illegible},
};

/// The host's own identity in AWS, as it can prove it to somebody who asks.
#[derive(Clone, Debug)]
pub struct Identity {
    credentials: Option<SharedCredentialsProvider>,
    region: Region,
    endpoint: String,
    timeout: Duration,
}

impl Identity {
    /// Prepares to prove it by STS of the host's region; asks nobody.
    pub async fn new(settings: &StsSettings) -> Self {
        let region = settings.region.clone();
        let credentials = settings.host_credentials.provider(&region, settings.mark).await;
        let endpoint = settings.endpoint.clone().unwrap_or_else(|| endpoint_of(&region));
        Self { credentials, region, endpoint, timeout: settings.timeout }
    }

    /// A request for `sts:GetCallerIdentity` that carries `nonce`, signed with the host's own credentials and
    /// not sent. Who has it can learn whose it is, for a quarter of an hour; it is good for nothing else.
    ///
    /// # Errors
    /// [`StsError::NoHostCredentials`] where there are none; the host's operator must act.
    pub async fn sign(&self, nonce: &str) -> Result<SignedRequest, StsError> {
        let none = |reason: String| StsError::NoHostCredentials(reason);
        let provider = self.credentials.as_ref();
        let provider = provider.ok_or_else(|| none("none are configured".to_owned()))?;
        let credentials = tokio::time::timeout(self.timeout, provider.provide_credentials()).await;
        let credentials = credentials
            .map_err(|_| none(format!("none were found within {:?}", self.timeout)))?
            .map_err(|error| none(crate::https::innermost(&error)))?;
        self.signed(nonce, &credentials.into(), SystemTime::now()).map_err(none)
    }

    fn signed(
        &self,
        nonce: &str,
        signer: &Signer,
        now: SystemTime,
    ) -> Result<SignedRequest, String> {
        let url = format!("{}/", self.endpoint.trim_end_matches('/'));
        let host = url.split_once("://").map_or("", |(_, rest)| rest).trim_end_matches('/');
        let plain = [("content-type", FORM), ("host", host), (NONCE, nonce)];
        let parameters = v4::SigningParams::builder()
            .identity(signer)
            .region(self.region.as_str())
            .name("sts")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let body = SignableBody::Bytes(QUESTION.as_bytes());
        let request = SignableRequest::new("POST", url.as_str(), plain.into_iter(), body);
        let request = request.map_err(|error| error.to_string())?;
        let signed = sign(request, &parameters).map_err(|error| error.to_string())?;
        let (instructions, _) = signed.into_parts();
        let headers = plain.into_iter().chain(instructions.headers());
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned().into()));
        Ok(SignedRequest { headers: headers.collect(), url, body: QUESTION.to_owned() })
    }
}

fn endpoint_of(region: &Region) -> String {
    let end = if region.as_str().starts_with("cn-") { ".cn" } else { "" };
    format!("https://sts.{region}.amazonaws.com{end}")
}

/// Who signed a request, as STS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The account.
    pub account: AccountId,
    /// The user, the account itself, or the session of a role.
    pub arn: Arn,
    /// The unique id, which no other gets after this one is deleted.
    pub user_id: String,
}

impl CallerIdentity {
    /// The role that the caller has, where it is one.
    pub fn role(&self) -> Option<RoleSession> {
        self.arn.to_string().parse().ok()
    }
}

/// It was not found out who signed a request, by who must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// The request is not one that may be sent, and was not: whoever made it must act.
    #[error(transparent)]
    Illegal(#[from] IllegalRequest),
    /// STS did not say who it is. What it refuses, it refuses the one who signed.
    #[error(transparent)]
    Sts(#[from] AskError),
}

/// Sends requests that hosts signed, and hears from STS who they are.
///
/// STS is asked anew each time: nothing that a host says of itself is believed.
#[derive(Clone, Debug)]
pub struct Forwarder {
    post: Post,
    practice: Option<String>,
}

impl Forwarder {
    /// Takes requests to AWS's own STS; and to the one endpoint `practice`, where an operator says so.
    pub fn new(practice: Option<String>, timeout: Duration) -> Self {
        Self { post: Post::new(timeout), practice }
    }

    /// Where `request`, which must carry `nonce`, goes; nothing is sent.
    ///
    /// # Errors
    /// When it is not the one question that may be sent.
    pub fn place(&self, request: &SignedRequest, nonce: &str) -> Result<String, IllegalRequest> {
        signed::check(request, nonce, self.practice.as_deref()).map(|checked| checked.url)
    }

    /// Who signed `request`, which must carry `nonce`. That the nonce is used once is for the caller to see to.
    ///
    /// # Errors
    /// By who must act: see [`ForwardError`].
    pub async fn forward(
        &self,
        request: &SignedRequest,
        nonce: &str,
    ) -> Result<CallerIdentity, ForwardError> {
        let checked = signed::check(request, nonce, self.practice.as_deref())?;
        let mut question = http::Request::post(&checked.url);
        for (name, value) in checked.headers {
            let value = http::HeaderValue::from_str(value.expose());
            let mut value = value.map_err(|_| IllegalRequest::Value(name))?;
            value.set_sensitive(true);
            question = question.header(name, value);
        }
        let question = question
            .body(SdkBody::from(QUESTION))
            .map_err(|error| unavailable(error.to_string()))?;
        let answer = self.post.send(question).await.map_err(unavailable)?;
        Ok(identity(&answer)?)
    }
}

const SERVICE: &str = "STS";

/// The namespace of STS's answers.
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

fn unavailable(reason: String) -> AskError {
    AskError::Unavailable { service: SERVICE, reason }
}

fn identity(answer: &Answer) -> Result<CallerIdentity, AskError> {
    if answer.status != 200 {
        let said = xml::error(&answer.body).filter(|_| answer.status < 500);
        return Err(match said {
            Some((code, message)) => match AskError::of(SERVICE, &code, &message) {
                // Not ours: those of the host that signed.
                AskError::NoCredentials { service, .. } => {
                    AskError::Denied { service, code, message }
                }
                other => other,
            },
            None => unavailable(format!("status {}", answer.status)),
        });
    }
    read(&answer.body).map_err(|Illegible(reason)| AskError::Illegible { service: SERVICE, reason })
}

/// Reads exactly the answer of `GetCallerIdentity`.
fn read(body: &[u8]) -> Result<CallerIdentity, Illegible> {
    let document = xml::document(body, (NAMESPACE, "GetCallerIdentityResponse"))?;
    let result = xml::only(document.root_element(), "GetCallerIdentityResult")?;
    let wrong = |what: &str| Illegible(format!("it names no {what}"));
    let account: AccountId = xml::text(result, "Account")?.parse().map_err(|_| wrong("account"))?;
    let arn: Arn = xml::text(result, "Arn")?.parse().map_err(|_| wrong("ARN"))?;
    if arn.account() != Some(account) || !["iam", "sts"].contains(&arn.service()) {
        return Err(Illegible("the ARN is not one of the account".to_owned()));
    }
    Ok(CallerIdentity { account, arn, user_id: xml::text(result, "UserId")? })
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use bytes::Bytes;

    use super::*;

    const ANSWER: &str = r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult>
    <Arn>arn:aws:sts::111122223333:assumed-role/fleet/i-0123456789abcdef0</Arn>
    <UserId>AROAEXAMPLE:i-0123456789abcdef0</UserId>
    <Account>111122223333</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata><RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId></ResponseMetadata>
</GetCallerIdentityResponse>"#;

    fn answered(status: u16, body: &str) -> Result<CallerIdentity, AskError> {
        identity(&Answer { status, body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    #[track_caller]
    fn check_illegible(body: &str) {
        let got = answered(200, body);
        assert!(matches!(got, Err(AskError::Illegible { .. })), "{got:?}");
    }

    #[track_caller]
    fn check_changed(from: &str, to: &str) {
        assert!(ANSWER.contains(from));
        check_illegible(&ANSWER.replacen(from, to, 1));
    }

    #[test]
    fn an_answer_says_account_and_role() {
        let caller = answered(200, ANSWER).unwrap();
        assert_eq!(caller.account.as_str(), "111122223333");
        assert_eq!(caller.user_id, "AROAEXAMPLE:i-0123456789abcdef0");
        let role = caller.role().unwrap();
        assert_eq!((role.role(), role.name()), ("fleet", "i-0123456789abcdef0"));
        let arn = "arn:aws:sts::111122223333:assumed-role/fleet/i-0123456789abcdef0";
        let user = ANSWER.replace(arn, "arn:aws:iam::111122223333:user/fleet");
        assert_eq!(answered(200, &user).unwrap().role(), None);
    }

    #[test]
    fn an_answer_to_another_question_is_not_believed() {
        check_illegible("");
        check_illegible(r#"{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{}}}"#);
        check_changed("https://sts.amazonaws.com/doc/2011-06-15/", "https://example.com/");
        check_illegible(&ANSWER.replace("GetCallerIdentity", "AssumeRoleWithWebIdentity"));
        // The answer that is believed stands inside of another one, as what somebody chose to say.
        check_illegible(&format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"{NAMESPACE}\">{ANSWER}\
             </AssumeRoleWithWebIdentityResponse>"
        ));
        check_illegible(&format!("{ANSWER}{ANSWER}"));
        check_illegible(&format!("{ANSWER}more"));
        check_illegible(&format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{ANSWER}"));
    }

    #[test]
    fn an_answer_that_says_two_things_is_not_believed() {
        let account = "<Account>111122223333</Account>";
        check_changed(account, "");
        check_changed(account, "<Account>111122223333</Account><Account>444455556666</Account>");
        check_changed(account, "<Account>444455556666</Account>");
        check_changed(account, "<Account><a/>111122223333</Account>");
        check_changed(account, "<Account>1111<!-- -->22223333</Account>");
        check_changed("arn:aws:sts::1111", "arn:aws:s3::1111");
        check_changed("<Arn>arn:aws", "<Arn>");
        let result = "<GetCallerIdentityResult>";
        check_changed(result, "<GetCallerIdentityResult/><GetCallerIdentityResult>");
    }

    #[test]
    fn a_refusal_of_sts_says_who_must_act() {
        let refusal = |code: &str| {
            format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
                 <Message>m</Message></Error></ErrorResponse>"
            )
        };
        let wrong =
            refusal("SignatureDoesNotMatch").replace("<Message>m", "<Message>Secret Access Key");
        for denied in [answered(403, &refusal("InvalidClientTokenId")), answered(403, &wrong)] {
            assert!(matches!(denied, Err(AskError::Denied { .. })), "{denied:?}");
        }
        let clock = answered(403, &refusal("SignatureDoesNotMatch"));
        assert!(matches!(clock, Err(AskError::Clock { .. })), "{clock:?}");
        for (status, body) in [(503, refusal("InvalidClientTokenId")), (302, String::new())] {
            let later = answered(status, &body);
            assert!(matches!(later, Err(AskError::Unavailable { .. })), "{later:?}");
        }
    }

    fn host(endpoint: &str) -> Identity {
        Identity {
            credentials: None,
            region: "eu-west-1".parse().unwrap(),
            endpoint: endpoint.to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_a_host_signs_may_be_sent() {
        let region = "eu-west-1".parse().unwrap();
        for token in [None, Some("token".to_owned())] {
            let key = Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", token, None, "test");
            let signer = key.into();
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_323_200);
            let host = host(&endpoint_of(&region));
            let request = host.signed("nonce-1", &signer, now).unwrap();
            let checked = signed::check(&request, "nonce-1", None).unwrap();
            assert_eq!(checked.url, "https://sts.eu-west-1.amazonaws.com/");
            assert!(!format!("{request:?}").contains("Signature="));
        }
    }

    #[tokio::test]
    async fn a_host_without_credentials_signs_nothing() {
        let refused = host("https://sts.eu-west-1.amazonaws.com").sign("nonce-1").await;
        assert!(matches!(refused, Err(StsError::NoHostCredentials(_))), "{refused:?}");
    }
}
