use issuer::{InvalidIssuerUrl, IssuerUrl};
use proptest::prelude::*;

#[derive(Clone, Copy)]
enum Legal {
    Everywhere,
    InPractice,
    Never,
}

#[track_caller]
fn check(text: &str, legal: Legal) {
    let parsed = text.parse::<IssuerUrl>();
    assert_eq!(parsed.is_ok(), matches!(legal, Legal::Everywhere), "{parsed:?}");
    let practice = IssuerUrl::practice(text);
    assert_eq!(practice.is_ok(), !matches!(legal, Legal::Never), "{practice:?}");
    if let Ok(url) = practice {
        assert_eq!(url.to_string(), text);
    }
}

#[test]
fn what_aws_takes_is_legal_everywhere() {
    check("https://oidc.example.com", Legal::Everywhere);
    check("https://oidc.example.com/fleet/a~1_2-3.x", Legal::Everywhere);
    check("https://bucket.s3.eu-central-1.amazonaws.com/issuer", Legal::Everywhere);
}

#[test]
fn plain_http_ports_and_addresses_are_for_practice() {
    check("http://oidc.example.com", Legal::InPractice);
    check("https://oidc.example.com:8443/fleet", Legal::InPractice);
    check("https://192.0.2.1", Legal::InPractice);
    check("http://127.0.0.1:8080", Legal::InPractice);
    check("http://[::1]:8080/x", Legal::InPractice);
    check("http://[::1]", Legal::InPractice);
    check("https://localhost", Legal::InPractice);
}

#[test]
fn a_url_with_two_spellings_is_refused() {
    check("https://oidc.example.com/", Legal::Never);
    check("https://oidc.example.com/a/", Legal::Never);
    check("https://oidc.example.com//a", Legal::Never);
    check("https://oidc.example.com/a/../b", Legal::Never);
    check("https://oidc.example.com/%61", Legal::Never);
    check("https://OIDC.example.com", Legal::Never);
    check("HTTPS://oidc.example.com", Legal::Never);
    check("http://localhost:080", Legal::Never);
    check("http://localhost:+80", Legal::Never);
    check("http://localhost:", Legal::Never);
    check("http://localhost:65536", Legal::Never);
}

#[test]
fn queries_fragments_and_users_are_refused() {
    check("https://oidc.example.com?x=1", Legal::Never);
    check("https://oidc.example.com/a?x=1", Legal::Never);
    check("https://oidc.example.com/a#b", Legal::Never);
    check("https://user@oidc.example.com", Legal::Never);
    check("https://user:pass@oidc.example.com", Legal::Never);
}

#[test]
fn a_host_must_be_a_name() {
    check("", Legal::Never);
    check("https://", Legal::Never);
    check("https:///path", Legal::Never);
    check("https://-a.example.com", Legal::Never);
    check("https://a..example.com", Legal::Never);
    check("https://exämple.com", Legal::Never);
    check("https://[127.0.0.1]", Legal::Never);
    check("https://[::1", Legal::Never);
    check("oidc.example.com", Legal::Never);
    check("ftp://oidc.example.com", Legal::Never);
}

#[test]
fn the_longest_url_has_255_characters() {
    let host = "https://oidc.example.com/";
    check(&format!("{host}{}", "a".repeat(IssuerUrl::LENGTH_MAX - host.len())), Legal::Everywhere);
    let long = format!("{host}{}", "a".repeat(IssuerUrl::LENGTH_MAX - host.len() + 1));
    assert_eq!(long.parse::<IssuerUrl>(), Err(InvalidIssuerUrl::TooLong(256)));
}

#[test]
fn the_provider_in_iam_is_the_url_without_its_scheme() {
    let url: IssuerUrl = "https://oidc.example.com/fleet".parse().unwrap();
    let arn = url.provider_arn(&"aws".parse().unwrap(), "111122223333".parse().unwrap()).unwrap();
    let expected = "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/fleet";
    assert_eq!(arn.to_string(), expected);
    assert_eq!(url.condition_key("aud"), "oidc.example.com/fleet:aud");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_refused_or_printed_back(text in "(https?://)?[a-z0-9.:/\\[\\]@?#%A-]{0,40}") {
        if let Ok(url) = IssuerUrl::practice(&text) {
            prop_assert_eq!(url.as_str(), &text);
            prop_assert!(!text.ends_with('/'));
        }
        prop_assert!(IssuerUrl::practice(&text).is_ok() || text.parse::<IssuerUrl>().is_err());
    }
}
