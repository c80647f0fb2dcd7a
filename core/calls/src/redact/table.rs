//! Names of what must never be kept.

use super::Sensitive;

/// What must not be kept of a service: whatever stands at, or below, a member of one of these names.
struct Rule {
    /// The service id; empty for every service.
    service: &'static str,
    kind: Sensitive,
    /// Names in any case. One that ends in `*` stands for all that begin so, one that begins with it for all that end so.
    names: &'static [&'static str],
}

const fn rule(service: &'static str, kind: Sensitive, names: &'static [&'static str]) -> Rule {
    Rule { service, kind, names }
}

/// The first that fits decides. Policies are in none of them: they are what questions are asked about.
const RULES: &[Rule] = &[
    rule("DynamoDB", Sensitive::QueryText, &["Statement"]),
    rule(
        "DynamoDB",
        Sensitive::DatabaseValue,
        &[
            "AttributeUpdates",
            "ExclusiveStartKey",
            "Expected",
            "ExpressionAttributeValues",
            "Item",
            "Key",
            "KeyConditions",
            "Keys",
            "Parameters",
            "QueryFilter",
            "ScanFilter",
        ],
    ),
    rule(
        "SQS",
        Sensitive::Message,
        &["MessageAttributes", "MessageBody", "MessageSystemAttributes"],
    ),
    rule("SNS", Sensitive::Message, &["Message", "MessageAttributes", "Subject"]),
    rule("SNS", Sensitive::Personal, &["PhoneNumber", "Endpoint"]),
    rule("Kinesis", Sensitive::Message, &["Data"]),
    rule("Firehose", Sensitive::Message, &["Data"]),
    rule("EventBridge", Sensitive::Message, &["Detail"]),
    rule("CloudWatch Events", Sensitive::Message, &["Detail"]),
    rule("CloudWatch Logs", Sensitive::Message, &["logEvents", "message"]),
    rule("CloudWatch Logs", Sensitive::QueryText, &["queryString"]),
    rule("SES", Sensitive::Message, &["Message", "RawMessage", "TemplateData"]),
    rule("SES", Sensitive::Personal, &["Destination", "Destinations"]),
    rule("SESv2", Sensitive::Message, &["Content", "DefaultContent", "TemplateData"]),
    rule("SESv2", Sensitive::Personal, &["Destination", "EmailAddress"]),
    rule("SSM", Sensitive::ParameterValue, &["Parameters", "Value"]),
    rule("SFN", Sensitive::Payload, &["cause", "error", "input", "output"]),
    rule("Lambda", Sensitive::Environment, &["Environment"]),
    rule("Lambda", Sensitive::Payload, &["ClientContext", "InvokeArgs"]),
    rule("ECS", Sensitive::Environment, &["command", "environment"]),
    rule("S3", Sensitive::Payload, &["Metadata", "Tagging", "x-amz-meta-*"]),
    rule("S3", Sensitive::QueryText, &["Expression"]),
    rule(
        "KMS",
        Sensitive::Payload,
        &["CiphertextBlob", "Mac", "Message", "Plaintext", "Signature"],
    ),
    rule("RDS Data", Sensitive::QueryText, &["sql", "sqlStatements"]),
    rule("RDS Data", Sensitive::DatabaseValue, &["parameterSets", "parameters"]),
    rule("Redshift Data", Sensitive::QueryText, &["Sql", "Sqls"]),
    rule("Redshift Data", Sensitive::DatabaseValue, &["Parameters"]),
    rule("Athena", Sensitive::QueryText, &["ExecutionParameters", "QueryString"]),
    rule("Timestream Query", Sensitive::QueryText, &["QueryString"]),
    rule("neptunedata", Sensitive::QueryText, &["gremlinQuery", "openCypherQuery", "parameters"]),
    rule("Bedrock Runtime", Sensitive::Payload, &["inputText", "messages", "prompt", "system"]),
    rule("Cognito Identity Provider", Sensitive::Personal, &["UserAttributes", "Username"]),
    rule(
        "Cognito Identity Provider",
        Sensitive::Secret,
        &["AuthParameters", "ChallengeResponses", "ClientMetadata", "Session", "ValidationData"],
    ),
    rule("Cognito Identity", Sensitive::Token, &["Logins"]),
    rule("CodeCommit", Sensitive::Payload, &["fileContent"]),
    rule("", Sensitive::UserData, &["UserData"]),
    rule("", Sensitive::SessionToken, &["SecurityToken", "SessionToken", "x-amz-security-token"]),
    rule(
        "",
        Sensitive::MfaCode,
        &[
            "AuthenticationCode1",
            "AuthenticationCode2",
            "ConfirmationCode",
            "MfaCode",
            "SoftwareTokenMfaCode",
            "TokenCode",
            "UserCode",
        ],
    ),
    rule(
        "",
        Sensitive::Token,
        &[
            "AccessToken",
            "AuthToken",
            "AuthorizationToken",
            "DeviceCode",
            "IdToken",
            "OAuthToken",
            "RefreshToken",
            "SAMLAssertion",
            "WebIdentityToken",
        ],
    ),
    rule("", Sensitive::PrivateKey, &["PrivateKey", "PrivateKeyPlaintext"]),
    rule(
        "",
        Sensitive::Secret,
        &[
            "*Password",
            "Base32StringSeed",
            "ClientSecret",
            "CopySourceSSECustomerKey",
            "MasterUserPassword",
            "Passphrase",
            "PreSharedKey",
            "SSECustomerKey",
            "SecretAccessKey",
            "SecretBinary",
            "SecretHash",
            "SecretString",
            "x-amz-copy-source-server-side-encryption-customer-key",
            "x-amz-server-side-encryption-customer-key",
        ],
    ),
    rule(
        "",
        Sensitive::Environment,
        &["EnvironmentVariables", "EnvironmentVariablesOverride", "Variables"],
    ),
    rule("", Sensitive::Payload, &["Blob", "Body", "Payload", "ZipFile"]),
];

/// The kind of what stands at a path, if a rule names it.
pub(super) fn by_name(service: &str, path: &str) -> Option<Sensitive> {
    let fits = |rule: &&Rule| {
        (rule.service.is_empty() || same_service(rule.service, service))
            && members(path).any(|member| rule.names.iter().any(|name| is_named(member, name)))
    };
    RULES.iter().find(fits).map(|rule| rule.kind)
}

/// The names along a path, without the marks of lists and maps.
fn members(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').map(|part| part.trim_end_matches(['[', ']', '{', '}']))
}

fn is_named(member: &str, name: &str) -> bool {
    if let Some(end) = name.strip_prefix('*') {
        let start = member.len().checked_sub(end.len());
        return start
            .and_then(|at| member.get(at..))
            .is_some_and(|it| it.eq_ignore_ascii_case(end));
    }
    if let Some(beginning) = name.strip_suffix('*') {
        return member.get(..beginning.len()).is_some_and(|it| it.eq_ignore_ascii_case(beginning));
    }
    member.eq_ignore_ascii_case(name)
}

/// SDKs write service ids with and without spaces and capitals: a rule that did not fit for that would leak.
fn same_service(a: &str, b: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = u8> {
        let plain = text.bytes().filter(u8::is_ascii_alphanumeric);
        plain.map(|byte| byte.to_ascii_lowercase())
    }
    letters(a).eq(letters(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_with_a_name_is_in_the_table() {
        let by_form_alone = [Sensitive::SignedUrl];
        for kind in Sensitive::ALL.iter().filter(|kind| !by_form_alone.contains(kind)) {
            assert!(RULES.iter().any(|rule| rule.kind == *kind), "{kind}");
        }
    }

    /// The shims read that file, so that a process keeps nothing to itself less than we would.
    #[test]
    fn the_table_is_the_one_that_shims_have() {
        let file = include_str!("../../../../conformance/calls/rules.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let ours: Vec<_> = RULES
            .iter()
            .map(|Rule { service, kind, names }| {
                serde_json::json!({ "service": service, "kind": kind.as_str(), "names": names })
            })
            .collect();
        assert_eq!(file["redact"], serde_json::Value::from(ours));
    }

    #[test]
    fn every_name_of_the_table_is_found_in_any_case_and_at_any_depth() {
        for rule in RULES {
            for name in rule.names {
                let name = name.replace('*', "x");
                let service = rule.service.to_uppercase().replace(' ', "-");
                for path in [name.clone(), name.to_uppercase(), format!("A[].{name}{{}}[].B")] {
                    assert!(by_name(&service, &path).is_some(), "{service} {path}");
                }
            }
        }
    }
}
