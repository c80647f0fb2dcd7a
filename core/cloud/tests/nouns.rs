//! Every noun is parsed or refused without a panic, and prints back exactly what was parsed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

use cloud::{AccountId, Arn, Partition, Region, RoleArn, RoleSession};
use proptest::prelude::*;

/// `text` is a noun and prints back as itself.
#[track_caller]
fn check<T: FromStr<Err: Debug> + Display>(text: &str) {
    assert_eq!(text.parse::<T>().unwrap().to_string(), text);
}

/// `text` is refused, by an error that fits on a line.
#[track_caller]
fn check_refused<T: FromStr<Err: Display> + Debug>(text: &str) {
    let error = text.parse::<T>().unwrap_err().to_string();
    assert!(error.len() < 4096 && !error.ends_with('.'), "{error}");
}

/// Whatever the text is: parsed, it prints back; or else it is refused.
fn prints_back<T: FromStr + Display>(text: &str) -> Result<(), TestCaseError> {
    if let Ok(noun) = text.parse::<T>() {
        prop_assert_eq!(noun.to_string(), text);
    }
    Ok(())
}

#[test]
fn arns_of_every_shape_print_back() {
    check::<Arn>("arn:aws:s3:::bucket/key:with:colons");
    check::<Arn>("arn:aws-cn:sqs:cn-north-1:111122223333:queue");
    check::<Arn>("arn:aws-us-gov:s3:::reports");
    check::<RoleArn>("arn:aws:iam::111122223333:role/orders");
    check::<RoleArn>("arn:aws:iam::111122223333:role/a/b/orders");
}

#[test]
fn what_is_almost_an_arn_is_refused() {
    check_refused::<Arn>("arn:aws:s3::");
    check_refused::<Arn>("arn:aws:s3:::");
    check_refused::<Arn>("arn:aws:::111122223333:x");
    check_refused::<Arn>("arn:awsx:s3:::x");
    check_refused::<Arn>("arn:aws:s3:::x\n");
    check_refused::<Arn>(&format!("arn:aws:s3:::{}", "x".repeat(Arn::LENGTH_MAX)));
}

#[test]
fn what_is_almost_a_role_is_refused() {
    check_refused::<RoleArn>("arn:aws:iam::111122223333:user/orders");
    check_refused::<RoleArn>("arn:aws:iam:eu-central-1:111122223333:role/orders");
    check_refused::<RoleArn>("arn:aws:iam:::role/orders");
    check_refused::<RoleArn>("arn:aws:iam::111122223333:role/");
    check_refused::<RoleArn>("arn:aws:iam::111122223333:role//orders");
    check_refused::<RoleArn>("arn:aws:iam::111122223333:role/or ders");
    let long = "x".repeat(RoleArn::NAME_MAX + 1);
    check_refused::<RoleArn>(&format!("arn:aws:iam::111122223333:role/{long}"));
}

#[test]
fn a_roles_session_has_a_role_and_a_name() {
    check::<RoleSession>("arn:aws:sts::111122223333:assumed-role/orders/i-0123456789abcdef0");
    check::<RoleSession>("arn:aws-cn:sts::111122223333:assumed-role/a_+=,.@-/b@example.com");
}

#[test]
fn who_calls_as_something_else_is_no_session_of_a_role() {
    check_refused::<RoleSession>("arn:aws:iam::111122223333:user/orders");
    check_refused::<RoleSession>("arn:aws:iam::111122223333:root");
    check_refused::<RoleSession>("arn:aws:iam::111122223333:assumed-role/orders/one");
    check_refused::<RoleSession>("arn:aws:sts::111122223333:federated-user/orders");
    check_refused::<RoleSession>("arn:aws:sts::111122223333:assumed-role/orders");
    check_refused::<RoleSession>("arn:aws:sts::111122223333:assumed-role//one");
    check_refused::<RoleSession>("arn:aws:sts::111122223333:assumed-role/path/orders/one");
    check_refused::<RoleSession>("arn:aws:sts:::assumed-role/orders/one");
    check_refused::<RoleSession>("arn:aws:sts:eu-west-1:111122223333:assumed-role/orders/one");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_refused_or_prints_back(text in "\\PC{0,60}") {
        prints_back::<AccountId>(&text)?;
        prints_back::<Region>(&text)?;
        prints_back::<Partition>(&text)?;
        prints_back::<Arn>(&text)?;
        prints_back::<RoleArn>(&text)?;
    }

    #[test]
    fn what_looks_like_an_arn_is_refused_or_prints_back(
        text in "arn:aws(-[a-z-]{0,9})?:[a-z0-9]{0,8}:[a-z0-9-]{0,12}:([0-9]{11,13})?:\\PC{0,40}",
    ) {
        prints_back::<Arn>(&text)?;
    }

    #[test]
    fn what_looks_like_a_role_is_refused_or_prints_back(
        text in "arn:aws:iam::[0-9]{12}:role/([a-zA-Z0-9+=,.@_ -][a-zA-Z0-9+=,.@_/ -]{0,40})?",
    ) {
        prints_back::<RoleArn>(&text)?;
    }

    #[test]
    fn what_looks_like_a_session_is_refused_or_prints_back(
        text in "arn:aws:sts::[0-9]{12}:assumed-role/[a-zA-Z0-9+=,.@_ /-]{0,40}",
    ) {
        prints_back::<RoleSession>(&text)?;
    }

    #[test]
    fn accounts_and_regions_of_the_right_form_are_taken(
        account in "[0-9]{12}", region in "[a-z]{2}(-[a-z]{2,5}){1,2}-[0-9]",
    ) {
        check::<AccountId>(&account);
        check::<Region>(&region);
    }

    #[test]
    fn parts_of_an_arn_are_those_it_was_made_of(
        service in "[a-z0-9-]{1,12}", region in "[a-z0-9-]{0,12}", resource in "[a-z:/*]{1,30}",
        account in prop::option::of("[0-9]{12}"),
    ) {
        let owner = account.clone().unwrap_or_default();
        let arn: Arn = format!("arn:aws:{service}:{region}:{owner}:{resource}").parse().unwrap();
        prop_assert_eq!(arn.partition().as_str(), "aws");
        prop_assert_eq!((arn.service(), arn.region(), arn.resource()), (&*service, &*region, &*resource));
        prop_assert_eq!(arn.account().map(|account| account.to_string()), account);
    }
}
