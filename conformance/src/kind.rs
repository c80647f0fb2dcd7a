use serde::Deserialize;

/// A form that a text can have.
///
/// ```
/// # use conformance::Kind;
/// assert!(Kind::Time.holds("2026-01-01T00:00:00Z"));
/// assert!(!Kind::Time.holds("2026-01-01T00:00:00.5Z") && !Kind::Time.holds("2026-13-01T00:00:00Z"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Printable ASCII on one line, not empty.
    Word,
    /// `2026-01-01T00:00:00Z`: UTC, whole seconds.
    Time,
    /// An RFC 3339 time in UTC, with or without a fraction.
    Rfc3339,
    /// Twelve digits.
    Account,
    /// The name of an IAM role.
    RoleName,
    /// The ARN of an IAM role.
    RoleArn,
    /// The ARN of an instance profile.
    InstanceProfileArn,
    /// `AIPA` and more capitals and digits.
    InstanceProfileId,
    /// `ASIA` or `AKIA` and more capitals and digits.
    AccessKeyId,
    /// `i-` and hexadecimal digits.
    InstanceId,
    /// `eu-central-1`.
    Region,
    /// A region and a letter, `eu-central-1a`; local zones have more.
    AvailabilityZone,
    /// An IPv4 address.
    Ipv4,
    /// Six lower-case hexadecimal pairs with colons.
    Mac,
    /// A date as HTTP writes it.
    HttpDate,
    /// A page of XHTML or HTML.
    Page,
}

impl Kind {
    /// Whether `text` has the form.
    pub fn holds(self, text: &str) -> bool {
        match self {
            Self::Word => !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()),
            Self::Time => text.len() == 20 && is_time(text),
            Self::Rfc3339 => is_time(text),
            Self::Account => text.len() == 12 && digits(text),
            Self::RoleName => is_role_name(text),
            Self::RoleArn => is_iam_arn(text, "role/"),
            Self::InstanceProfileArn => is_iam_arn(text, "instance-profile/"),
            Self::InstanceProfileId => is_id(text, &["AIPA"]),
            Self::AccessKeyId => is_id(text, &["ASIA", "AKIA"]),
            Self::InstanceId => text
                .strip_prefix("i-")
                .is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit())),
            Self::Region => is_region(text),
            Self::AvailabilityZone => is_zone(text),
            Self::Ipv4 => text.parse::<std::net::Ipv4Addr>().is_ok(),
            Self::Mac => is_mac(text),
            Self::HttpDate => text.len() == 29 && text.ends_with(" GMT") && text.contains(", "),
            Self::Page => {
                let start = text.trim_start().to_ascii_lowercase();
                start.starts_with("<?xml")
                    || start.starts_with("<!doctype")
                    || start.starts_with("<html")
            }
        }
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_time(text: &str) -> bool {
    let Some((date, time)) = text.strip_suffix('Z').and_then(|text| text.split_once('T')) else {
        return false;
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let date = parts(date, '-', &[(4, 1970, 9999), (2, 1, 12), (2, 1, 31)]);
    let time = parts(time, ':', &[(2, 0, 23), (2, 0, 59), (2, 0, 60)]);
    date && time && digits(fraction) && fraction.len() <= 9
}

/// Whether `text` is numbers of these lengths and bounds with `between` between them.
fn parts(text: &str, between: char, expected: &[(usize, u32, u32)]) -> bool {
    let parts: Vec<&str> = text.split(between).collect();
    parts.len() == expected.len()
        && parts.iter().zip(expected).all(|(part, (length, low, high))| {
            part.len() == *length
                && digits(part)
                && part.parse().is_ok_and(|number: u32| (*low..=*high).contains(&number))
        })
}

fn is_role_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

fn is_iam_arn(text: &str, resource: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "iam", "", account, path] => {
            partition.starts_with("aws")
                && Kind::Account.holds(account)
                && path
                    .strip_prefix(resource)
                    .is_some_and(|name| is_role_name(name.rsplit('/').next().unwrap_or_default()))
        }
        _ => false,
    }
}

fn is_id(text: &str, prefixes: &[&str]) -> bool {
    (16..=128).contains(&text.len())
        && prefixes.iter().any(|prefix| text.starts_with(prefix))
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lower = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.as_slice() {
        [words @ .., number] => words.len() >= 2 && words.iter().all(lower) && digits(number),
        [] => false,
    }
}

fn is_zone(text: &str) -> bool {
    let region = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    if region.len() + 1 == text.len() && is_region(region) {
        return true;
    }
    // A local zone, such as `us-west-2-lax-1a`, begins with its region.
    let mut ends = text.match_indices('-').map(|(at, _)| at);
    text.ends_with(|c: char| c.is_ascii_lowercase())
        && ends.any(|at| text.split_at_checked(at).is_some_and(|(region, _)| is_region(region)))
}

fn is_mac(text: &str) -> bool {
    let pair = |pair: &str| {
        pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    text.split(':').count() == 6 && text.split(':').all(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, right: &[&str], wrong: &[&str]) {
        for text in right {
            assert!(kind.holds(text), "{kind:?} `{text}`");
        }
        for text in wrong {
            assert!(!kind.holds(text), "{kind:?} `{text}`");
        }
    }

    #[test]
    fn times_are_utc_and_in_bounds() {
        let local =
            ["2026-01-01T00:00:00+00:00", "2026-01-01 00:00:00Z", "2026-1-1T0:0:0Z", "", "Z"];
        check(Kind::Time, &["2026-12-31T23:59:59Z"], &local);
        check(
            Kind::Time,
            &[],
            &["2026-01-01T00:00:00.1Z", "2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z"],
        );
        check(Kind::Rfc3339, &["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789Z"], &local);
        check(Kind::Rfc3339, &[], &["2026-01-01T00:00:00.Z"]);
        check(Kind::HttpDate, &["Thu, 01 Jan 2026 00:00:00 GMT"], &["2026-01-01T00:00:00Z", ""]);
    }

    #[test]
    fn places_are_told_apart_from_other_words() {
        check(
            Kind::Region,
            &["eu-central-1", "us-gov-west-1"],
            &["eu-central-1a", "eu", "", "-1", "EU-x-1"],
        );
        check(
            Kind::AvailabilityZone,
            &["eu-central-1a", "us-west-2-lax-1a"],
            &["eu-central-1", "a", "", "eu-central-1ab", "euc1-az1"],
        );
        check(Kind::Ipv4, &["10.0.0.1"], &["10.0.0", "10.0.0.1\n", "::1"]);
        check(
            Kind::Mac,
            &["0a:1b:2c:3d:4e:5f"],
            &["0A:1b:2c:3d:4e:5f", "0a:1b:2c:3d:4e", "0a1b2c3d4e5f"],
        );
    }

    #[test]
    fn names_of_iam_are_told_apart_from_other_words() {
        let arn = "arn:aws:iam::111122223333:role/a/b";
        check(
            Kind::RoleArn,
            &[arn],
            &["arn:aws:iam::1:role/b", "arn:aws:s3:::b", "", "arn:aws:iam::111122223333:role/"],
        );
        check(
            Kind::InstanceProfileArn,
            &["arn:aws-cn:iam::111122223333:instance-profile/b"],
            &[arn],
        );
        check(Kind::RoleName, &["orders", "a+b=c,d.e@f_g-h"], &["", "a/b", "orders\n", "<html>"]);
        check(Kind::AccessKeyId, &["ASIAIOSFODNN7EXAMPLE"], &["ASIA", "asiaiosfodnn7example", ""]);
        check(Kind::InstanceProfileId, &["AIPAIOSFODNN7EXAMPLE"], &["ASIAIOSFODNN7EXAMPLE"]);
        check(Kind::Account, &["012345678901"], &["12345678901", "01234567890a"]);
        check(Kind::InstanceId, &["i-0abc"], &["i-", "i-xyz", "0abc"]);
        check(Kind::Word, &["a"], &["", "a b", "a\n"]);
        check(Kind::Page, &["<?xml version", "<!DOCTYPE html", "<html>"], &["", "404"]);
    }
}
