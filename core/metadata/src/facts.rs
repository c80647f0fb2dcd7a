use std::{borrow::Cow, net::Ipv4Addr};

use cloud::{AccountId, Partition, Region};
use jiff::Timestamp;
use serde::Serialize;

/// What the instance says of itself, as far as it is known. What is `None` is either passed
/// through to the host (where the [`AllowList`](crate::AllowList) names it) or not there: 404.
///
/// It holds no credentials and nothing that proves who somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `instance-id`, such as `i-0123456789abcdef0`.
    pub instance_id: Option<String>,
    /// `instance-type`, such as `m7i.large`.
    pub instance_type: Option<String>,
    /// `ami-id`.
    pub ami_id: Option<String>,
    /// `architecture` in the identity document, such as `x86_64`.
    pub architecture: Option<String>,
    /// The account that the machine runs in, not the workload's.
    pub account: Option<AccountId>,
    /// `services/partition`.
    pub partition: Option<Partition>,
    /// `placement/region`.
    pub region: Option<Region>,
    /// `placement/availability-zone`, such as `eu-central-1a`.
    pub availability_zone: Option<String>,
    /// `placement/availability-zone-id`, such as `euc1-az2`.
    pub availability_zone_id: Option<String>,
    /// `hostname` and `local-hostname`.
    pub hostname: Option<String>,
    /// `local-ipv4`.
    pub local_ipv4: Option<Ipv4Addr>,
    /// `mac`, in lower case with colons.
    pub mac: Option<String>,
    /// When the machine was started, `pendingTime` in the identity document.
    pub pending_time: Option<Timestamp>,
}

impl Facts {
    /// The text of a leaf below the version prefix, such as `meta-data/instance-id`.
    pub(crate) fn leaf(&self, rest: &str) -> Option<Cow<'_, str>> {
        let (_, read) = LEAVES.iter().find(|(path, _)| *path == rest)?;
        read(self)
    }

    /// The paths of all leaves that have a value.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &'static str> {
        LEAVES.iter().filter(|(_, read)| read(self).is_some()).map(|(path, _)| *path)
    }

    /// `dynamic/instance-identity/document`. `None` unless instance, region and account are known:
    /// a document without them would mislead the clients that read their region from it.
    ///
    /// [AWS: instance identity documents](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html)
    pub(crate) fn identity_document(&self) -> Option<String> {
        let document = IdentityDocument {
            account_id: self.account.as_ref()?.as_str(),
            architecture: self.architecture.as_deref(),
            availability_zone: self.availability_zone.as_deref(),
            billing_products: None,
            devpay_product_codes: None,
            marketplace_product_codes: None,
            image_id: self.ami_id.as_deref(),
            instance_id: self.instance_id.as_deref()?,
            instance_type: self.instance_type.as_deref(),
            kernel_id: None,
            pending_time: self.pending_time.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            private_ip: self.local_ipv4,
            ramdisk_id: None,
            region: self.region.as_ref()?.as_str(),
            version: "2017-09-30",
        };
        let mut written = Vec::with_capacity(512);
        let spaced = crate::render::Ec2Format::default();
        let mut to = serde_json::Serializer::with_formatter(&mut written, spaced);
        document.serialize(&mut to).ok()?;
        String::from_utf8(written).ok()
    }
}

/// The field names and their order are AWS's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityDocument<'a> {
    account_id: &'a str,
    architecture: Option<&'a str>,
    availability_zone: Option<&'a str>,
    billing_products: Option<&'a str>,
    devpay_product_codes: Option<&'a str>,
    marketplace_product_codes: Option<&'a str>,
    image_id: Option<&'a str>,
    instance_id: &'a str,
    instance_type: Option<&'a str>,
    kernel_id: Option<&'a str>,
    pending_time: Option<String>,
    private_ip: Option<Ipv4Addr>,
    ramdisk_id: Option<&'a str>,
    region: &'a str,
    version: &'static str,
}

/// Whether `rest` is a leaf that we answer where we know it.
pub(crate) fn is_leaf(rest: &str) -> bool {
    LEAVES.iter().any(|(path, _)| *path == rest)
}

/// Whether some of our leaves lie below `rest`.
pub(crate) fn is_directory(rest: &str) -> bool {
    LEAVES.iter().any(|(path, _)| path.strip_prefix(rest).is_some_and(|more| more.starts_with('/')))
}

type Read = fn(&Facts) -> Option<Cow<'_, str>>;

/// Every leaf that we answer ourselves.
const LEAVES: &[(&str, Read)] = &[
    ("meta-data/ami-id", |facts| text(facts.ami_id.as_ref())),
    ("meta-data/hostname", |facts| text(facts.hostname.as_ref())),
    ("meta-data/instance-id", |facts| text(facts.instance_id.as_ref())),
    ("meta-data/instance-type", |facts| text(facts.instance_type.as_ref())),
    ("meta-data/local-hostname", |facts| text(facts.hostname.as_ref())),
    ("meta-data/local-ipv4", |facts| Some(facts.local_ipv4?.to_string().into())),
    ("meta-data/mac", |facts| text(facts.mac.as_ref())),
    ("meta-data/placement/availability-zone", |facts| text(facts.availability_zone.as_ref())),
    ("meta-data/placement/availability-zone-id", |facts| text(facts.availability_zone_id.as_ref())),
    ("meta-data/placement/region", |facts| Some(facts.region.as_ref()?.as_str().into())),
    ("meta-data/services/partition", |facts| Some(facts.partition.as_ref()?.as_str().into())),
];

fn text(fact: Option<&String>) -> Option<Cow<'_, str>> {
    fact.map(|fact| Cow::Borrowed(fact.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            instance_id: Some("i-0abc".into()),
            account: "111122223333".parse().ok(),
            region: "eu-central-1".parse().ok(),
            local_ipv4: Some(Ipv4Addr::new(10, 0, 0, 7)),
            pending_time: Some(Timestamp::from_millisecond(1_767_225_600_123).unwrap()),
            ..Facts::default()
        }
    }

    #[track_caller]
    fn check(facts: &Facts, leaf: &str, expected: Option<&str>) {
        assert_eq!(facts.leaf(leaf).as_deref(), expected);
    }

    #[test]
    fn a_leaf_is_the_fact_and_nothing_where_it_is_not_known() {
        check(&facts(), "meta-data/instance-id", Some("i-0abc"));
        check(&facts(), "meta-data/local-ipv4", Some("10.0.0.7"));
        check(&facts(), "meta-data/placement/region", Some("eu-central-1"));
        check(&facts(), "meta-data/mac", None);
        check(&facts(), "meta-data/public-ipv4", None);
        assert_eq!(facts().leaves().count(), 3);
    }

    #[test]
    fn the_identity_document_has_the_documented_fields() {
        let document = facts().identity_document().unwrap();
        assert!(document.starts_with("{\n  \"accountId\" : \"111122223333\",\n"), "{document}");
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        let names: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        let mut documented = [
            "accountId",
            "architecture",
            "availabilityZone",
            "billingProducts",
            "devpayProductCodes",
            "imageId",
            "instanceId",
            "instanceType",
            "kernelId",
            "marketplaceProductCodes",
            "pendingTime",
            "privateIp",
            "ramdiskId",
            "region",
            "version",
        ];
        documented.sort_unstable();
        let mut names = names;
        names.sort_unstable();
        assert_eq!(names, documented);
        assert_eq!(document["pendingTime"], "2026-01-01T00:00:00Z");
        assert_eq!(document["privateIp"], "10.0.0.7");
        assert_eq!(document["version"], "2017-09-30");
        assert!(document["kernelId"].is_null());
    }

    #[test]
    fn there_is_no_identity_document_without_instance_region_and_account() {
        assert!(facts().identity_document().is_some());
        assert!(Facts { account: None, ..facts() }.identity_document().is_none());
        assert!(Facts { region: None, ..facts() }.identity_document().is_none());
        assert!(Facts { instance_id: None, ..facts() }.identity_document().is_none());
    }
}
