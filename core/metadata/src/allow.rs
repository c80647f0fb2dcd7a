use crate::Target;

/// Which paths of the host's own metadata a workload may read. Empty by default.
///
/// An entry is a path below the version prefix, such as `meta-data/placement/region`; with `/**`
/// at its end it covers everything at and below that path. Paths that give away the host
/// (credentials, `user-data`, signatures, keys, tags) are open only to an entry that names them:
/// `meta-data/**` does not cover `meta-data/iam`.
///
/// ```
/// # use metadata::AllowList;
/// let list = AllowList::parse(["meta-data/**", "user-data"]).unwrap();
/// assert!(list.names("meta-data/block-device-mapping/root") && list.names("user-data"));
/// assert!(!list.names("meta-data/iam/info") && !list.names("dynamic/fws"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    below: bool,
}

/// The text is no entry of an allow-list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "allowed path must look like `meta-data/ami-id`, `user-data` or `meta-data/placement/**`: `{0}`"
)]
pub struct InvalidAllowEntry(String);

impl AllowList {
    /// Reads the entries of a configuration.
    pub fn parse<T: AsRef<str>>(
        entries: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidAllowEntry> {
        entries
            .into_iter()
            .map(|entry| Entry::parse(entry.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a normalised path below the version prefix may go to the host.
    pub fn names(&self, rest: &str) -> bool {
        let guarded = guarded(rest).unwrap_or(0);
        self.0.iter().any(|entry| entry.path.len() >= guarded && entry.covers(rest))
    }

    /// The paths that are named, and whether what lies below is covered: for listings.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|entry| (entry.path.as_str(), entry.below))
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, InvalidAllowEntry> {
        let invalid = || InvalidAllowEntry(text.to_owned());
        let (path, below) = match text.strip_suffix("/**") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let absolute = format!("/{path}");
        let normal = Target::parse(&absolute).is_ok_and(|target| target.path() == absolute);
        let root = path.split('/').next().unwrap_or_default();
        if normal && ["meta-data", "dynamic", "user-data"].contains(&root) && !path.contains('*') {
            Ok(Self { path: path.to_owned(), below })
        } else {
            Err(invalid())
        }
    }

    fn covers(&self, rest: &str) -> bool {
        match rest.strip_prefix(self.path.as_str()) {
            Some("") => true,
            Some(more) => self.below && more.starts_with('/'),
            None => false,
        }
    }
}

/// The length of the guarded root that `rest` lies at or below, if it does. An entry must be at
/// least this long to open it.
pub(crate) fn guarded(rest: &str) -> Option<usize> {
    // The namespaces in which ECS passes task roles through the instance's metadata.
    if let Some(name) = rest.strip_prefix("meta-data/") {
        let name = name.split('/').next().unwrap_or_default();
        if name.starts_with("iam-") {
            return Some("meta-data/".len() + name.len());
        }
    }
    GUARDED
        .iter()
        .find(|root| {
            rest.strip_prefix(**root).is_some_and(|more| more.is_empty() || more.starts_with('/'))
        })
        .map(|root| root.len())
}

/// What gives the host away: its bootstrap secrets, its own credentials, its keys and tags, and
/// the signatures with which a workload could pass for the host.
const GUARDED: [&str; 8] = [
    "user-data",
    "meta-data/iam",
    "meta-data/identity-credentials",
    "meta-data/public-keys",
    "meta-data/tags",
    "dynamic/instance-identity/pkcs7",
    "dynamic/instance-identity/rsa2048",
    "dynamic/instance-identity/signature",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entry: &str, rest: &str, expected: bool) {
        let list = AllowList::parse([entry]).unwrap();
        assert_eq!(list.names(rest), expected, "`{entry}` and `{rest}`");
    }

    #[test]
    fn an_entry_covers_its_own_path_alone() {
        check("meta-data/ami-id", "meta-data/ami-id", true);
        check("meta-data/ami-id", "meta-data/ami-id/x", false);
        check("meta-data/ami-id", "meta-data/ami-id2", false);
        check("meta-data", "meta-data/ami-id", false);
    }

    #[test]
    fn stars_cover_what_lies_below() {
        check("meta-data/placement/**", "meta-data/placement", true);
        check("meta-data/placement/**", "meta-data/placement/region", true);
        check("meta-data/placement/**", "meta-data/placements", false);
        check("dynamic/**", "meta-data/x", false);
    }

    #[test]
    fn what_gives_the_host_away_must_be_named() {
        for guarded in GUARDED {
            let root = guarded.split('/').next().unwrap();
            if root != guarded {
                check(&format!("{root}/**"), guarded, false);
                check(&format!("{root}/**"), &format!("{guarded}/x"), false);
            }
            check(guarded, guarded, true);
            check(&format!("{guarded}/**"), &format!("{guarded}/x"), true);
        }
        check("meta-data/**", "meta-data/iam-ecs-credentials/x", false);
        check("meta-data/iam-ecs-credentials/**", "meta-data/iam-ecs-credentials/x", true);
        check("dynamic/instance-identity/**", "dynamic/instance-identity/signature", false);
        check("dynamic/instance-identity/**", "dynamic/instance-identity/document", true);
    }

    #[test]
    fn an_entry_that_is_no_path_is_refused() {
        for entry in [
            "",
            "**",
            "/**",
            "*",
            "/meta-data/ami-id",
            "latest/meta-data",
            "meta-data/",
            "meta-data/*",
            "meta-data/../user-data",
            "meta-data//x",
            "meta-data/%69am",
            "meta-data/**/x",
            "api/token",
        ] {
            assert_eq!(
                AllowList::parse([entry]),
                Err(InvalidAllowEntry(entry.into())),
                "`{entry}`"
            );
        }
    }
}
