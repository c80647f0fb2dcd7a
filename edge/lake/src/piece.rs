use std::fmt;

use cloud::{AccountId, Region};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dataset {
    /// Calls, as OCSF API Activity.
    Calls,
    /// Leases that were fetched.
    Leases,
    /// Shims that began to speak.
    Shims,
    /// What was sent, and what became of it.
    Coverage,
}

impl Dataset {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Calls, Self::Leases, Self::Shims, Self::Coverage];

    /// Its name in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Leases => "leases",
            Self::Shims => "shims",
            Self::Coverage => "coverage",
        }
    }

    /// The dataset of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dataset| dataset.as_str() == name)
    }

    /// The folder of its files. That of calls is what Security Lake wants of a custom source.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Calls => "ext/rolecall-calls/1.0",
            other => other.as_str(),
        }
    }

    /// The column that its rows are ordered by.
    pub(crate) fn ordered_by(self) -> &'static str {
        match self {
            Self::Calls => "time",
            Self::Leases | Self::Coverage => "from",
            Self::Shims => "at",
        }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The part of a dataset that a file belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Of what.
    pub dataset: Dataset,
    /// The region that was called. Nothing where it is not known, and for all but calls.
    pub region: Option<Region>,
    /// The account of the caller. Nothing where it is not known, and for all but calls.
    pub account: Option<AccountId>,
    /// The day, in UTC.
    pub day: Date,
}

/// A file of the lake: one row of the manifest. What is not in the manifest is not in the lake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// What it is part of.
    pub partition: Partition,
    /// Where it is in the store.
    pub path: String,
    /// The earliest time that a row of it has.
    pub min_time: Timestamp,
    /// The latest time that a row of it has.
    pub max_time: Timestamp,
    /// How many rows it has.
    pub rows: u64,
    /// How many calls they stand for. Nothing for all but calls.
    pub calls: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal.
    pub hash: String,
}

/// What the manifest said at one moment: a question sees these files and no other, whatever is published meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(pub Vec<Piece>);

/// What stands for a region that is not known, where a folder must have a name.
const NO_REGION: &str = "unknown";
/// What stands for an account that is not known. Security Lake wants `external_` before what is no account.
const NO_ACCOUNT: &str = "external_unknown";

impl Partition {
    /// A part of a dataset that has days alone.
    pub(crate) fn of_day(dataset: Dataset, at: Timestamp) -> Self {
        Self { dataset, region: None, account: None, day: day(at) }
    }

    /// The folder of its files, with `/` at its end.
    pub(crate) fn folder(&self) -> String {
        let base = self.dataset.folder();
        let day = self.day.strftime("%Y%m%d");
        match self.dataset {
            Dataset::Calls => {
                let region = self.region.as_ref().map_or(NO_REGION, Region::as_str);
                let account = self.account.as_ref().map_or(NO_ACCOUNT, AccountId::as_str);
                format!("{base}/region={region}/accountId={account}/eventDay={day}/")
            }
            _ => format!("{base}/eventDay={day}/"),
        }
    }
}

/// The day of a time, in UTC.
pub(crate) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}
