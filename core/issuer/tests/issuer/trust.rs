//! What `rolecall issuer check` says about an account.

use issuer::{Finding, IssuerUrl, Provider, Trust, trust_policy};
use proptest::prelude::*;
use serde_json::{Value, json};

const AUDIENCE: &str = "sts.amazonaws.com";
const PROVIDER: &str = "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/fleet";
const SUBJECT: &str = "application:orders:environment:prod:instance:*";

fn url() -> IssuerUrl {
    "https://oidc.example.com/fleet".parse().unwrap()
}

fn trust() -> Trust {
    Trust::new(&url(), &PROVIDER.parse().unwrap(), AUDIENCE, "orders", "prod").unwrap()
}

fn provider() -> Provider {
    let url = "oidc.example.com/fleet".to_owned();
    Provider { url, client_ids: vec![AUDIENCE.to_owned()] }
}

fn policy() -> Value {
    let provider = PROVIDER.parse().unwrap();
    let text = trust_policy(&url(), &provider, AUDIENCE, "orders", "prod").unwrap();
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn check(change: impl FnOnce(&mut Value), expected: &[Finding]) {
    let mut policy = policy();
    change(&mut policy["Statement"][0]);
    check_policy(&policy, expected);
}

#[track_caller]
fn check_policy(policy: &Value, expected: &[Finding]) {
    let findings = trust().check(Some(&provider()), &policy.to_string());
    assert_eq!(findings, expected);
    for finding in &findings {
        assert!(!finding.to_string().is_empty() && !trust().fix(finding).is_empty());
    }
}

#[track_caller]
fn check_subject(operator: &str, value: Value, expected: &[Finding]) {
    check(
        |statement| {
            statement["Condition"].as_object_mut().unwrap().remove("StringLike");
            statement["Condition"][operator]["oidc.example.com/fleet:sub"] = value;
        },
        expected,
    );
}

#[test]
fn what_rolecall_prints_as_a_trust_policy_is_right() {
    check(|_| {}, &[]);
    check(|statement| statement["Principal"]["Federated"] = json!([PROVIDER]), &[]);
    check(|statement| statement["Action"] = json!("sts:*"), &[]);
    let mut two = policy();
    two["Statement"] = json!({ "a": 1 });
    check_policy(&two, &[Finding::NotTrusted(vec![])]);
    let one = json!({ "Statement": policy()["Statement"][0] });
    check_policy(&one, &[]);
}

#[test]
fn an_account_without_the_provider_or_its_audience_is_found() {
    let policy = policy().to_string();
    assert_eq!(trust().check(None, &policy), [Finding::NoProvider]);
    assert!(
        trust().fix(&Finding::NoProvider).contains(
            "aws iam create-open-id-connect-provider --url https://oidc.example.com/fleet"
        )
    );
    let other = Provider { client_ids: vec!["other".to_owned()], ..provider() };
    let finding = Finding::ClientId(vec!["other".to_owned()]);
    assert!(trust().fix(&finding).contains(&format!("{PROVIDER} --client-id {AUDIENCE}")));
    assert_eq!(trust().check(Some(&other), &policy), [finding]);
    let other = Provider { url: "oidc.example.com/other".to_owned(), ..provider() };
    assert_eq!(trust().check(Some(&other), &policy), [Finding::OtherProvider(other.url.clone())]);
}

#[test]
fn a_policy_that_trusts_another_is_found() {
    let other = "arn:aws:iam::111122223333:oidc-provider/other.example.com";
    let not_trusted = Finding::NotTrusted(vec![other.to_owned()]);
    check(|statement| statement["Principal"]["Federated"] = json!(other), &[not_trusted]);
    let nobody = Finding::NotTrusted(vec![]);
    check(
        |statement| statement["Principal"] = json!({ "AWS": "*" }),
        std::slice::from_ref(&nobody),
    );
    check(
        |statement| statement["Action"] = json!("sts:AssumeRole"),
        &[Finding::NotTrusted(vec![PROVIDER.to_owned()])],
    );
    check_policy(&json!({}), &[nobody]);
    check_policy(&json!([]), &[Finding::NotAPolicy]);
    assert_eq!(trust().check(Some(&provider()), "{"), [Finding::NotAPolicy]);
}

#[test]
fn what_a_token_carries_must_be_allowed_as_well() {
    let missing = [Finding::Action("sts:TagSession"), Finding::Action("sts:SetSourceIdentity")];
    let only = json!("sts:AssumeRoleWithWebIdentity");
    check(|statement| statement["Action"] = only, &missing);
    let tags = json!(["sts:assumerolewithwebidentity", "sts:Tag*"]);
    check(|statement| statement["Action"] = tags, &[Finding::Action("sts:SetSourceIdentity")]);
}

#[test]
fn a_policy_that_asks_for_no_or_another_audience_is_found() {
    let remove = |statement: &mut Value| {
        statement["Condition"].as_object_mut().unwrap().remove("StringEquals");
    };
    check(remove, &[Finding::AnyAudience]);
    check(
        |statement| {
            statement["Condition"]["StringEquals"]["oidc.example.com/fleet:aud"] =
                json!(["a", "b"]);
        },
        &[Finding::OtherAudience(vec!["a".to_owned(), "b".to_owned()])],
    );
}

#[test]
fn a_policy_that_lets_every_workload_in_is_found() {
    let remove = |statement: &mut Value| {
        statement["Condition"].as_object_mut().unwrap().remove("StringLike");
    };
    check(remove, &[Finding::AnySubject]);
    let all = |statement: &mut Value| {
        statement.as_object_mut().unwrap().remove("Condition");
    };
    check(all, &[Finding::AnyAudience, Finding::AnySubject]);
    for wide in [
        "*",
        "application:orders:*",
        "application:orders*:environment:prod:instance:*",
        "application:orders:environment:*:instance:*",
        "application:?rders:environment:prod:instance:*",
    ] {
        check_subject("StringLike", json!(wide), &[Finding::SubjectTooWide(wide.to_owned())]);
    }
}

#[test]
fn a_policy_that_does_not_let_our_workloads_in_is_found() {
    let one = "application:orders:environment:prod:instance:orders-1";
    check_subject("StringEquals", json!(one), &[Finding::OtherSubject(vec![one.to_owned()])]);
    // To StringEquals an asterisk is an asterisk.
    let literal = Finding::OtherSubject(vec![SUBJECT.to_owned()]);
    check_subject("StringEquals", json!(SUBJECT), &[literal]);
    let other = "application:billing:environment:prod:instance:*";
    check_subject(
        "StringLike",
        json!(other),
        &[Finding::SubjectTooWide(other.to_owned()), Finding::OtherSubject(vec![other.to_owned()])],
    );
    check_subject(
        "StringLike",
        json!([other, SUBJECT]),
        &[Finding::SubjectTooWide(other.to_owned())],
    );
}

#[test]
fn what_is_not_judged_is_said() {
    let key = "oidc.example.com/fleet:sub";
    let unknown = |operator: &str| [Finding::Unknown(format!("{operator} {key}"))];
    let quantified = "ForAllValues:StringLike";
    check_subject(quantified, json!(SUBJECT), &unknown(quantified));
    check(
        |statement| statement["Condition"]["StringNotLike"] = json!({ key: "*:instance:a" }),
        &unknown("StringNotLike"),
    );
    check(
        |statement| {
            statement["Condition"]["IpAddress"] = json!({ "aws:SourceIp": "192.0.2.0/24" });
        },
        &[Finding::Unknown("IpAddress aws:SourceIp".to_owned())],
    );
    let mut denied = policy();
    let mut deny = denied["Statement"][0].clone();
    deny["Effect"] = json!("Deny");
    denied["Statement"].as_array_mut().unwrap().push(deny);
    check_policy(&denied, &[Finding::Deny]);
}

#[test]
fn a_second_statement_that_is_wider_is_found() {
    let mut both = policy();
    let mut second = both["Statement"][0].clone();
    second["Condition"]["StringLike"] = json!({ "oidc.example.com/fleet:sub": "*" });
    both["Statement"].as_array_mut().unwrap().push(second);
    check_policy(&both, &[Finding::SubjectTooWide("*".to_owned())]);
}

proptest! {
    #[test]
    fn no_policy_breaks_the_check_and_no_finding_is_without_a_fix(text in "[\\[\\]{}\",:a-zA-Z*]{0,200}") {
        for finding in trust().check(None, &text) {
            prop_assert!(!trust().fix(&finding).is_empty() && !finding.to_string().is_empty());
        }
    }
}
