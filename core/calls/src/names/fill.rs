//! Fills the template of a resource with the parameters of a call.

use std::borrow::Cow;

use cloud::AccountId;

use super::{NamedBy, Objects};
use crate::{Event, Parameters};

/// The most resources that one template gives: the product of values could be large.
const RESOURCES_MAX: usize = 64;

/// A resource that has a name. It may have stars, and then stands for several.
pub(super) struct Filled {
    pub(super) arn: String,
    /// Nothing where no parameter named it.
    pub(super) by: Option<NamedBy>,
}

/// What is known of a call, to fill templates with.
pub(super) struct Filling<'a> {
    parameters: &'a Parameters<'a>,
    prefix: &'a str,
    region: Option<&'a str>,
    account: Option<AccountId>,
    objects: Objects,
}

/// A template's text up to its first variable, that variable, and what follows. A path may itself end in `{}`.
fn cut(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once("${")?;
    let closes = |(at, _): &(usize, &str)| !rest.get(..*at).unwrap_or_default().ends_with('{');
    let (end, _) = rest.match_indices('}').find(closes)?;
    Some((before, rest.get(..end)?, rest.get(end + 1..)?))
}

impl<'a> Filling<'a> {
    pub(super) fn new(
        event: &'a Event<'_>,
        prefix: &'a str,
        account: Option<AccountId>,
        objects: Objects,
    ) -> Self {
        let region = event.region.as_ref().map(cloud::Region::as_str);
        Self { parameters: &event.parameters, prefix, region, account, objects }
    }

    /// The resources that a template gives; none where a part of it is not known.
    pub(super) fn fill(&self, template: &str) -> Vec<Filled> {
        if let Some(("", path, "")) = cut(template) {
            let arns = self.values(path).filter(|value| is_arn(value));
            return arns.take(RESOURCES_MAX).map(by_arn).collect();
        }
        let template = self.expand(template);
        let mut filled = vec![Part::default()];
        let mut rest: &str = &template;
        while let Some((before, path, after)) = cut(rest) {
            let mut more = Vec::new();
            for part in &filled {
                let values = self.values(path);
                more.extend(
                    values
                        .filter_map(|value| self.put(part, before, value, after))
                        .take(RESOURCES_MAX),
                );
            }
            more.truncate(RESOURCES_MAX);
            filled = more;
            rest = after;
        }
        filled.into_iter().filter_map(|part| self.finish(part, rest)).collect()
    }

    fn values(&self, path: &str) -> impl Iterator<Item = &str> {
        let values = self.parameters.get(path).map(Vec::as_slice).unwrap_or_default();
        values
            .iter()
            .map(Cow::as_ref)
            .filter(|value| !value.is_empty() && !value.starts_with("<redacted "))
    }

    /// Writes out what the table shortens. Region and account stay signs until all is known.
    fn expand(&self, template: &str) -> String {
        let template = template.replace("${Region}", "\u{1}").replace("${Account}", "\u{2}");
        let template = template.replace("${Partition}", "\u{3}");
        match (template.strip_prefix('@'), template.strip_prefix('^')) {
            (Some(rest), _) => format!("arn:\u{3}:{}:\u{1}:\u{2}:{rest}", self.prefix),
            (_, Some(rest)) => format!("arn:\u{3}:{}", rest.replacen('~', "\u{1}:\u{2}:", 1)),
            _ => template,
        }
    }

    /// Puts one value into its place.
    fn put(&self, part: &Part, before: &str, value: &str, after: &str) -> Option<Part> {
        let last = cut(after).is_none();
        let mut next = Part { arn: format!("{}{before}", part.arn), ..part.clone() };
        if is_arn(value) {
            return Some(next.whole(&self.short(value), after, last));
        }
        let value = match address(value) {
            Some(Address { host, account, name }) => {
                next.by = next.by.or(Some(NamedBy::Url));
                next.account = account.or(next.account);
                next.region = region_in(host).or(next.region);
                name
            }
            None if value.contains("://") => return None,
            None => value,
        };
        let value = self.bare(&mut next, value, last)?;
        next.arn.push_str(&value);
        Some(next)
    }

    /// A bare name, as it stands in an ARN.
    fn bare<'v>(&self, next: &mut Part, value: &'v str, last: bool) -> Option<Cow<'v, str>> {
        next.by = next.by.or(Some(NamedBy::Bare));
        let value = if next.arn.ends_with('/') { value.trim_start_matches('/') } else { value };
        if let (true, Some(start)) = (value.starts_with("alias/"), next.arn.strip_suffix("key/")) {
            next.arn = start.to_owned();
            next.by = Some(NamedBy::Alias);
        }
        if let (Some((account, name)), true) =
            (value.split_once(":function:"), self.prefix == "lambda")
        {
            next.account = Some(account.parse().ok()?);
            return Some(Cow::Borrowed(name));
        }
        match self.prefix {
            // The end of a secret's ARN is drawn by AWS.
            "secretsmanager" if last && next.arn.ends_with(":secret:") => {
                Some(Cow::Owned(format!("{value}-??????")))
            }
            "s3" if next.arn.ends_with(":s3:::") && last => Some(self.bucket_and_key(value)),
            "s3" if last && is_before_key(&next.arn) => Some(self.object(value)),
            _ => Some(Cow::Borrowed(value)),
        }
    }

    /// A bucket, or the source of a copy: `bucket/key`, `/bucket/key?versionId=V`.
    fn bucket_and_key<'v>(&self, value: &'v str) -> Cow<'v, str> {
        let value = value.trim_start_matches('/');
        let value = value.split_once("?versionId=").map_or(value, |(value, _)| value);
        match value.split_once('/') {
            Some((bucket, key)) => Cow::Owned(format!("{bucket}/{}", self.object(key))),
            None => Cow::Borrowed(value),
        }
    }

    /// An ARN that may be one of an object behind an access point, as the source of a copy can be.
    fn short<'v>(&self, arn: &'v str) -> Cow<'v, str> {
        match arn.split_once("/object/") {
            Some((point, key)) if self.prefix == "s3" => {
                Cow::Owned(format!("{point}/object/{}", self.object(key)))
            }
            _ => Cow::Borrowed(arn),
        }
    }

    fn object<'v>(&self, key: &'v str) -> Cow<'v, str> {
        match (self.objects, key.split_once('/')) {
            (Objects::Whole, _) => Cow::Borrowed(key),
            (Objects::FirstSegment, Some((first, _))) if !first.is_empty() => {
                Cow::Owned(format!("{first}/*"))
            }
            (Objects::FirstSegment, _) => Cow::Borrowed("*"),
        }
    }

    fn finish(&self, part: Part, rest: &str) -> Option<Filled> {
        let mut arn = part.arn;
        if !part.whole {
            arn.push_str(rest);
        }
        let region = part.region.as_deref().or(self.region);
        if arn.contains('\u{1}') {
            arn = arn.replace('\u{1}', region?);
        }
        if arn.contains('\u{2}') {
            arn = arn.replace('\u{2}', part.account.or(self.account)?.as_str());
        }
        let arn = arn.replace('\u{3}', partition(region));
        Some(Filled { arn, by: part.by })
    }
}

/// An ARN that is being filled.
#[derive(Clone, Default)]
struct Part {
    arn: String,
    by: Option<NamedBy>,
    account: Option<AccountId>,
    region: Option<String>,
    /// Nothing comes behind it any more: its last variable was an ARN.
    whole: bool,
}

impl Part {
    /// A value that is an ARN already. What follows it in the template is below it: an object of an access point.
    fn whole(mut self, value: &str, after: &str, last: bool) -> Self {
        self.by = self.by.or(Some(NamedBy::Arn));
        self.whole = last;
        let object = !last && after.starts_with('/') && value.contains(":accesspoint/");
        self.arn = value.to_owned();
        if object {
            self.arn.push_str("/object");
        }
        self
    }
}

/// Whether the key of an object comes next: behind a bucket, or an access point.
fn is_before_key(arn: &str) -> bool {
    arn.ends_with("/object/") || (arn.contains(":s3:::") && arn.ends_with('/'))
}

fn is_arn(value: &str) -> bool {
    value.parse::<cloud::Arn>().is_ok()
}

fn by_arn(value: &str) -> Filled {
    Filled { arn: value.to_owned(), by: Some(NamedBy::Arn) }
}

/// A URL that names a resource: `https://sqs.eu-central-1.amazonaws.com/111122223333/orders`.
struct Address<'a> {
    host: &'a str,
    account: Option<AccountId>,
    name: &'a str,
}

fn address(value: &str) -> Option<Address<'_>> {
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/')?;
    let (before, name) = path.rsplit_once('/').unwrap_or(("", path));
    let account = before.rsplit('/').next().and_then(|account| account.parse().ok());
    (!name.is_empty()).then_some(Address { host, account, name })
}

/// The region in a host's name, which has digits behind its last hyphen.
fn region_in(host: &str) -> Option<String> {
    let is_region = |part: &&str| {
        let end = part.rsplit('-').next().unwrap_or_default();
        part.matches('-').count() >= 2
            && !end.is_empty()
            && end.bytes().all(|byte| byte.is_ascii_digit())
    };
    host.split('.').find(is_region).map(str::to_owned)
}

/// The partition of a region.
///
/// [AWS: partitions](https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html)
fn partition(region: Option<&str>) -> &'static str {
    let starts = |start: &str| region.is_some_and(|region| region.starts_with(start));
    match () {
        () if starts("cn-") => "aws-cn",
        () if starts("us-gov-") => "aws-us-gov",
        () if starts("us-iso-") => "aws-iso",
        () if starts("us-isob-") => "aws-iso-b",
        () if starts("us-isof-") => "aws-iso-f",
        () if starts("eu-isoe-") => "aws-iso-e",
        () if starts("eusc-") => "aws-eusc",
        () => "aws",
    }
}
