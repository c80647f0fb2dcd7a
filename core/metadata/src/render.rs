use std::{io, sync::Arc};

use cloud::RoleArn;
use jiff::Timestamp;
use secret::{SecretBytes, SecretText};
use serde_json::ser::Formatter;

use crate::{
    Answer,
    answer::{Body, json, json_error, page, plain, text_error},
};

/// A body that is made from a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// `iam/security-credentials/<role>` of instance metadata.
    Instance,
    /// `iam/info` of instance metadata.
    InstanceInfo,
    /// `/v2/credentials/<id>` of ECS.
    Container,
    /// `/v1/credentials` of EKS Pod Identity.
    PodIdentity,
}

/// What a lease holds, lent for one rendering. All credentials in it end at `expiration`.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The access key's public half.
    pub access_key_id: &'a str,
    /// The access key's secret half.
    pub secret_access_key: &'a SecretText,
    /// The session token.
    pub session_token: &'a SecretText,
    /// When STS ends them.
    pub expiration: Timestamp,
    /// When they were fetched.
    pub last_updated: Timestamp,
    /// The role they act as.
    pub role: &'a RoleArn,
}

/// Why there are no credentials to render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Not fetched yet. The client asks again.
    NotReady,
    /// The provider asked us to slow down. The client asks again.
    Throttled,
    /// The provider said no. Whoever owns the role must act.
    Denied {
        /// The provider's error code, such as `AccessDenied`.
        code: String,
        /// The provider's words, for the client's log.
        message: String,
    },
    /// The lease was stopped on purpose. Asking again does not help.
    Stopped,
}

/// Writes the body that `form` asks for. It can be kept until the lease changes.
///
/// Times are UTC, in whole seconds: clients parse them with a fixed pattern.
///
/// ```
/// # use metadata::{Credentials, Form, render};
/// # use secret::SecretText;
/// let [secret, token] = ["s/1", "t"].map(|text| SecretText::new(text.to_owned()));
/// let body = render(Form::Container, &Credentials {
///     access_key_id: "ASIAEXAMPLE",
///     secret_access_key: &secret,
///     session_token: &token,
///     expiration: "2026-01-01T01:00:00.9Z".parse().unwrap(),
///     last_updated: "2026-01-01T00:00:00Z".parse().unwrap(),
///     role: &"arn:aws:iam::111122223333:role/orders".parse().unwrap(),
/// });
/// let body: serde_json::Value = serde_json::from_slice(body.expose()).unwrap();
/// assert_eq!(body["Expiration"], "2026-01-01T01:00:00Z");
/// ```
pub fn render(form: Form, credentials: &Credentials<'_>) -> SecretBytes {
    let Credentials { access_key_id, secret_access_key, session_token, role, .. } = credentials;
    let (key, token) = (secret_access_key.expose().as_str(), session_token.expose().as_str());
    let expiration = calendar(credentials.expiration);
    let updated = calendar(credentials.last_updated);
    match form {
        Form::Instance => ec2_object(&[
            ("Code", "Success"),
            ("LastUpdated", &updated),
            ("Type", "AWS-HMAC"),
            ("AccessKeyId", access_key_id),
            ("SecretAccessKey", key),
            ("Token", token),
            ("Expiration", &expiration),
        ]),
        Form::InstanceInfo => ec2_object(&[
            ("Code", "Success"),
            ("LastUpdated", &updated),
            ("InstanceProfileArn", &profile_arn(role)),
            ("InstanceProfileId", &profile_id(role)),
        ]),
        Form::Container => compact_object(&[
            ("RoleArn", &role.to_string()),
            ("AccessKeyId", access_key_id),
            ("SecretAccessKey", key),
            ("Token", token),
            ("Expiration", &expiration),
        ]),
        Form::PodIdentity => compact_object(&[
            ("AccessKeyId", access_key_id),
            ("SecretAccessKey", key),
            ("Token", token),
            ("AccountId", role.account().as_str()),
            ("Expiration", &expiration),
        ]),
    }
}

/// The answer around a rendered body.
pub fn answer_credentials(
    form: Form,
    body: Arc<SecretBytes>,
    token_ttl_left: Option<u16>,
) -> Answer {
    match form {
        Form::Instance | Form::InstanceInfo => plain(Body::Secret(body), token_ttl_left),
        Form::Container | Form::PodIdentity => json(200, Body::Secret(body)),
    }
}

/// The answer where there is nothing to render, in words that the SDKs of that door understand:
/// what passes is 503 (they ask again), what does not pass is an error that they report.
/// `wall` is printed as the time of the last try.
pub fn unavailable(form: Form, why: &Unavailable, wall: Timestamp) -> Answer {
    let (code, message) = match why {
        Unavailable::NotReady => ("CredentialsUninitialized", "credentials are being fetched"),
        Unavailable::Throttled => ("CredentialsUninitialized", "the provider throttles us"),
        Unavailable::Denied { code, message } => (code.as_str(), message.as_str()),
        Unavailable::Stopped => ("LeaseStopped", "the lease of this workload was stopped"),
    };
    let passes = matches!(why, Unavailable::NotReady | Unavailable::Throttled);
    match form {
        Form::Instance | Form::InstanceInfo if passes => page(503),
        // EC2 reports a role that cannot be assumed inside a 200; SDKs know this code by name.
        Form::Instance | Form::InstanceInfo => {
            let body = ec2_object(&[
                ("Code", "AssumeRoleUnauthorizedAccess"),
                ("Message", &format!("{code}: {message}")),
                ("LastUpdated", &calendar(wall)),
            ]);
            plain(Body::Secret(Arc::new(body)), None)
        }
        Form::Container => json_error(if passes { 503 } else { 403 }, code, message),
        Form::PodIdentity => {
            text_error(if passes { 503 } else { 403 }, format!("{code}: {message}\n"))
        }
    }
}

fn calendar(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// There is no instance profile, so the role stands in for it.
fn profile_arn(role: &RoleArn) -> String {
    let (partition, account, path, name) =
        (role.partition(), role.account(), role.path(), role.name());
    format!("arn:{partition}:iam::{account}:instance-profile{path}{name}")
}

/// An id of AWS's form (`AIPA` and 17 of its 32 letters) that is always the same for one role.
fn profile_id(role: &RoleArn) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, role.to_string().as_bytes());
    let letter = |byte: &u8| match byte & 31 {
        low @ 0..26 => char::from(b'A' + low),
        high => char::from(b'2' + (high - 26)),
    };
    "AIPA".chars().chain(digest.as_ref().iter().take(17).map(letter)).collect()
}

fn ec2_object(fields: &[(&str, &str)]) -> SecretBytes {
    object(fields, Ec2Format::default())
}

fn compact_object(fields: &[(&str, &str)]) -> SecretBytes {
    object(fields, serde_json::ser::CompactFormatter)
}

fn object(fields: &[(&str, &str)], format: impl Formatter) -> SecretBytes {
    // An escape makes at most six bytes of one. The buffer never grows: growing would leave a
    // copy of a secret behind in freed memory.
    let bound = fields.iter().map(|(name, value)| name.len() + value.len() * 6 + 16).sum::<usize>();
    let mut body = Vec::with_capacity(bound + 8);
    let mut to = serde_json::Serializer::with_formatter(&mut body, format);
    let object = serde::Serializer::collect_map(&mut to, fields.iter().copied());
    debug_assert!(object.is_ok() && body.len() <= bound + 8, "an object of texts can be written");
    SecretBytes::new(body)
}

/// JSON as EC2 lays it out: two spaces of indentation, and a space on both sides of the colon.
#[derive(Default)]
pub(crate) struct Ec2Format {
    fields: bool,
}

impl Formatter for Ec2Format {
    fn begin_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.fields = false;
        to.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.fields = true;
        to.write_all(if first { b"\n  " } else { b",\n  " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b" : ")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(if self.fields { b"\n}" } else { b"}" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: Form, secret: &str, expected: &str) {
        let [secret, token] = [secret, "token"].map(|text| SecretText::new(text.to_owned()));
        let body = render(
            form,
            &Credentials {
                access_key_id: "ASIAIOSFODNN7EXAMPLE",
                secret_access_key: &secret,
                session_token: &token,
                expiration: "2026-01-01T01:00:00.999Z".parse().unwrap(),
                last_updated: "2026-01-01T02:00:00+02:00".parse().unwrap(),
                role: &"arn:aws:iam::111122223333:role/apps/orders".parse().unwrap(),
            },
        );
        assert_eq!(std::str::from_utf8(body.expose()), Ok(expected));
    }

    #[test]
    fn instance_credentials_are_laid_out_as_on_ec2_with_times_in_utc_seconds() {
        check(
            Form::Instance,
            "s/+=",
            "{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"2026-01-01T00:00:00Z\",\n  \
             \"Type\" : \"AWS-HMAC\",\n  \"AccessKeyId\" : \"ASIAIOSFODNN7EXAMPLE\",\n  \
             \"SecretAccessKey\" : \"s/+=\",\n  \"Token\" : \"token\",\n  \
             \"Expiration\" : \"2026-01-01T01:00:00Z\"\n}",
        );
    }

    #[test]
    fn role_information_names_a_profile_of_the_role() {
        check(
            Form::InstanceInfo,
            "",
            "{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"2026-01-01T00:00:00Z\",\n  \
             \"InstanceProfileArn\" : \"arn:aws:iam::111122223333:instance-profile/apps/orders\",\n  \
             \"InstanceProfileId\" : \"AIPARNILFIRBGROWDG2RD\"\n}",
        );
    }

    #[test]
    fn container_credentials_name_the_role() {
        check(
            Form::Container,
            "s",
            r#"{"RoleArn":"arn:aws:iam::111122223333:role/apps/orders","AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"s","Token":"token","Expiration":"2026-01-01T01:00:00Z"}"#,
        );
    }

    #[test]
    fn pod_identity_credentials_name_the_account() {
        check(
            Form::PodIdentity,
            "s",
            r#"{"AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"s","Token":"token","AccountId":"111122223333","Expiration":"2026-01-01T01:00:00Z"}"#,
        );
    }

    #[test]
    fn a_secret_full_of_escapes_does_not_outgrow_its_buffer() {
        let body = object(&[("k", &"\u{1}".repeat(1000))], Ec2Format::default());
        assert_eq!(body.expose().len(), 6000 + r#"{"k":""}"#.len() + "\n  ".len() + "  ".len() + 1);
    }

    #[track_caller]
    fn check_unavailable(form: Form, why: &Unavailable, status: u16, says: &str) {
        let answer = unavailable(form, why, "2026-01-01T00:00:00Z".parse().unwrap());
        let body = std::str::from_utf8(answer.body.expose()).unwrap().to_owned();
        assert_eq!(answer.status, status, "{body}");
        assert!(body.contains(says), "{body}");
    }

    #[test]
    fn what_passes_is_503_at_every_door() {
        for why in [Unavailable::NotReady, Unavailable::Throttled] {
            check_unavailable(Form::Instance, &why, 503, "503 - Service Unavailable");
            check_unavailable(Form::InstanceInfo, &why, 503, "503 - Service Unavailable");
            check_unavailable(Form::Container, &why, 503, r#""code":"CredentialsUninitialized""#);
            check_unavailable(Form::PodIdentity, &why, 503, "CredentialsUninitialized");
        }
    }

    #[test]
    fn what_does_not_pass_is_an_error_that_sdks_report() {
        let why =
            Unavailable::Denied { code: "AccessDenied".into(), message: "not \"you\"".into() };
        check_unavailable(Form::Instance, &why, 200, r#""Code" : "AssumeRoleUnauthorizedAccess""#);
        check_unavailable(Form::Instance, &why, 200, r#""AccessDenied: not \"you\"""#);
        check_unavailable(Form::Container, &why, 403, r#""code":"AccessDenied""#);
        check_unavailable(Form::PodIdentity, &why, 403, "AccessDenied: not");
        check_unavailable(Form::Instance, &Unavailable::Stopped, 200, "was stopped");
        check_unavailable(Form::Container, &Unavailable::Stopped, 403, "LeaseStopped");
    }
}
