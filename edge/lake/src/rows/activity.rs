//! A record of calls as OCSF 1.3.0 API Activity, with the profiles `cloud` and `datetime`.
//!
//! What a record knows and OCSF has no place for is in `unmapped`, as columns of its own: a map of texts, as AWS writes
//! it, would keep what stands in thousands of rows as often, and could be neither skipped nor pruned. How long an
//! aggregate lasted is the difference of its ends, and would cost as much as one of them; so OCSF's `duration` is not written.

use arrow::{array::RecordBatch, error::ArrowError};
use calls::{Access, Outcome, Record, Signer};
use cloud::AccountId;
use jiff::Timestamp;

use super::{Row, names, resources};
use crate::column::{Column, batch};

/// OCSF's number of the class API Activity.
const CLASS: i32 = 6003;
/// OCSF's number of its category, Application Activity.
const CATEGORY: i32 = 6;
/// The most bytes of parameters that are kept of a record. Pages have at most 1 MiB, and a text of OCSF 64 KiB.
const UNNAMED_MAX: usize = 8 << 10;

/// The account of the caller: that of the role, where the key was leased, else what the key says.
pub(crate) fn account(record: &Record) -> Option<AccountId> {
    match &record.key.signer {
        Signer::Leased { role, .. } => Some(role.account()),
        Signer::Foreign | Signer::Unknown => record.key.access_key.as_ref()?.account(),
    }
}

/// Lays records out. Numbers of columns below 100 are those of OCSF's own columns on the first level.
pub(super) fn columns(rows: &[Row<'_, Record>]) -> Result<RecordBatch, ArrowError> {
    let records = || rows.iter().map(|row| row.what);
    let activity = |record: &Record| activity(record.key.named.access, &record.key.operation);
    let several = |record: &&Record| record.sighting.count > 1;
    let milliseconds = |at: Timestamp| Some(at.as_millisecond());
    batch(vec![
        Column::small(1, "activity_id", records().map(activity)),
        Column::small(2, "category_uid", records().map(|_| CATEGORY)),
        Column::small(3, "class_uid", records().map(|_| CLASS)),
        Column::number(
            4,
            "type_uid",
            records().map(|it| Some(i64::from(CLASS * 100 + activity(it)))),
        )
        .required(),
        // Informational: whether it matters is for whoever asks to say.
        Column::small(5, "severity_id", records().map(|_| 1)),
        Column::small(6, "status_id", records().map(|it| status(it.key.outcome).0)),
        Column::text(7, "status", records().map(|it| Some(status(it.key.outcome).1))),
        Column::text(8, "status_code", records().map(|it| Some(it.key.outcome.as_str()))),
        Column::number(9, "time", records().map(|it| milliseconds(it.sighting.first))).required(),
        Column::time(10, "time_dt", records().map(|it| it.sighting.first)),
        Column::count(11, "count", records().map(|it| it.sighting.count)),
        Column::number(
            12,
            "start_time",
            records()
                .map(|it| Some(it).filter(several).and_then(|it| milliseconds(it.sighting.first))),
        ),
        Column::number(
            13,
            "end_time",
            records()
                .map(|it| Some(it).filter(several).and_then(|it| milliseconds(it.sighting.last))),
        ),
        metadata(rows)?,
        actor(rows)?,
        api(rows)?,
        cloud(rows)?,
        source(rows)?,
        destination(rows)?,
        Column::group(
            21,
            "http_request",
            vec![Column::text(
                170,
                "user_agent",
                records().map(|it| it.sighting.user_agent.as_deref()),
            )],
        )?,
        resources::column(22, rows)?,
        unmapped(rows)?,
    ])
}

fn metadata(rows: &[Row<'_, Record>]) -> Result<Column, ArrowError> {
    let each = rows.len();
    let profiles =
        (0..each * 2).map(|index| Some(if index % 2 == 0 { "cloud" } else { "datetime" }));
    let group = Column::group(
        15,
        "metadata",
        vec![
            Column::same(100, "version", "1.3.0", each),
            Column::group(
                101,
                "product",
                vec![
                    Column::same(102, "name", "Rolecall", each),
                    Column::same(103, "vendor_name", "Rolecall", each),
                    Column::same(104, "version", env!("CARGO_PKG_VERSION"), each),
                ],
            )?
            .required(),
            Column::text(105, "uid", rows.iter().map(|row| Some(row.origin.to_string())))
                .required(),
            Column::list(
                106,
                "profiles",
                &vec![Some(2); each],
                Column::text(107, "element", profiles).required(),
            )?,
        ],
    )?;
    Ok(group.required())
}

fn actor(rows: &[Row<'_, Record>]) -> Result<Column, ArrowError> {
    let keys = || rows.iter().map(|row| &row.what.key);
    let roles = || {
        keys().map(|key| match &key.signer {
            Signer::Leased { role, .. } => Some(role.to_string()),
            Signer::Foreign | Signer::Unknown => None,
        })
    };
    let accounts = || rows.iter().map(|row| account(row.what).map(|it| it.to_string()));
    // OCSF wants a user to have at least one of account, name and uid.
    let names = accounts().map(|account| account.is_none().then_some("unknown"));
    let kinds = roles().map(|role| role.map(|_| "AssumedRole"));
    let application = keys().map(|key| key.workload.as_ref().map(|it| it.application.as_str()));
    let group = Column::group(
        16,
        "actor",
        vec![
            Column::group(
                110,
                "user",
                vec![
                    Column::text(111, "type", kinds),
                    Column::text(112, "uid", roles()),
                    Column::text(113, "name", names),
                    Column::text(
                        114,
                        "credential_uid",
                        keys().map(|key| key.access_key.as_ref().map(|it| it.as_str())),
                    ),
                    Column::group(115, "account", vec![Column::text(116, "uid", accounts())])?,
                ],
            )?
            .required(),
            Column::text(117, "app_name", application),
        ],
    )?;
    Ok(group.required())
}

fn api(rows: &[Row<'_, Record>]) -> Result<Column, ArrowError> {
    let records = || rows.iter().map(|row| row.what);
    let group = Column::group(
        17,
        "api",
        vec![
            Column::text(120, "operation", records().map(|it| Some(&it.key.operation))).required(),
            Column::group(
                121,
                "service",
                vec![
                    Column::text(122, "name", records().map(|it| Some(&it.key.service))).required(),
                ],
            )?
            .required(),
            Column::group(
                123,
                "request",
                vec![Column::text(
                    124,
                    "uid",
                    records().map(|it| it.sighting.request_id.as_deref()),
                )],
            )?,
            Column::group(
                125,
                "response",
                vec![Column::text(
                    126,
                    "error",
                    records().map(|it| it.sighting.exception.as_deref()),
                )],
            )?,
        ],
    )?;
    Ok(group.required())
}

fn cloud(rows: &[Row<'_, Record>]) -> Result<Column, ArrowError> {
    let region = rows.iter().map(|row| row.what.key.region.as_ref().map(cloud::Region::as_str));
    let account = rows.iter().map(|row| account(row.what).map(|it| it.to_string()));
    let group = Column::group(
        18,
        "cloud",
        vec![
            Column::same(130, "provider", "AWS", rows.len()),
            Column::text(131, "region", region),
            Column::group(132, "account", vec![Column::text(133, "uid", account)])?,
        ],
    )?;
    Ok(group.required())
}

fn source(rows: &[Row<'_, Record>]) -> Result<Column, ArrowError> {
    let agents = || rows.iter().map(|row| Some(row.origin.sender.agent.as_str()));
    let workloads = rows.iter().map(|row| row.what.key.workload.as_ref().map(ToString::to_string));
    let group = Column::group(
        19,
        "src_endpoint",
        vec![
            Column::text(140, "hostname", agents().map(|it| it.filter(|it| is_hostname(it)))),
            Column::text(141, "name", agents().map(|it| it.filter(|it| !is_hostname(it)))),
            Column::text(142, "uid", workloads),
        ],
    )?;
    Ok(group.required())
}

/// A host that OCSF takes no hostname for has another name.
fn destination(rows: &[Row<'_, Record>]) -> Result<Column, ArrowError> {
    let hosts = || rows.iter().map(|row| row.what.sighting.host.as_deref());
    Column::group(
        20,
        "dst_endpoint",
        vec![
            Column::text(150, "hostname", hosts().map(|host| host.filter(|it| is_hostname(it)))),
            Column::text(151, "name", hosts().map(|host| host.filter(|it| !is_hostname(it)))),
        ],
    )
}

fn unmapped(rows: &[Row<'_, Record>]) -> Result<Column, ArrowError> {
    let records = || rows.iter().map(|row| row.what);
    let keys = || rows.iter().map(|row| &row.what.key);
    let signer = keys().map(|key| {
        Some(match key.signer {
            Signer::Leased { .. } => "leased",
            Signer::Foreign => "foreign",
            Signer::Unknown => "unknown",
        })
    });
    // Nearly always it is who made the call, which is written down once.
    let passed_on = keys().map(|key| match &key.signer {
        Signer::Leased { to, .. } if Some(to) != key.workload.as_ref() => Some(to.to_string()),
        _ => None,
    });
    let longest = records()
        .map(|it| it.sighting.longest.map(|it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX)));
    Column::group(
        23,
        "unmapped",
        vec![
            Column::text(180, "trust", keys().map(|key| Some(names::trust(key.trust)))),
            Column::text(181, "signer", signer),
            Column::text(182, "leased_to", passed_on),
            Column::text(183, "access", keys().map(|key| key.named.access.map(names::access))),
            Column::text(184, "plane", keys().map(|key| key.named.plane.map(names::plane))),
            Column::text(185, "basis", keys().map(|key| key.named.basis.map(names::basis))),
            Column::text(186, "named_by", keys().map(|key| key.named.by.map(names::named_by))),
            Column::text(187, "why", records().map(|it| Some(names::why(it.why)))),
            Column::number(188, "longest_ms", longest),
            Column::text(189, "unnamed", records().map(unnamed)),
        ],
    )
}

/// The parameters that no table could name, as JSON; nothing where there are none. Those that do not fit are counted.
fn unnamed(record: &Record) -> Option<String> {
    let mut kept = serde_json::Map::new();
    let (mut bytes, mut left_out) = (0, 0_u64);
    for (path, values) in &record.key.unnamed {
        // A byte is at most six in JSON, as a control character is.
        bytes += 6 * (path.len() + values.iter().map(|value| value.len() + 1).sum::<usize>() + 4);
        if bytes > UNNAMED_MAX {
            left_out += 1;
        } else {
            kept.insert(path.to_string(), values.iter().map(AsRef::as_ref).collect());
        }
    }
    if left_out > 0 {
        // No path looks like this.
        kept.insert("(left out)".to_owned(), left_out.into());
    }
    (!kept.is_empty()).then(|| serde_json::Value::Object(kept).to_string())
}

/// OCSF's number for what it does. Whether a write creates or deletes only its name can tell; the rest is an update, for
/// a put does not say whether there was something before.
fn activity(access: Option<Access>, operation: &str) -> i32 {
    const CREATES: &[&str] =
        &["Create", "Run", "Launch", "Allocate", "Register", "Import", "Copy", "Restore"];
    const DELETES: &[&str] =
        &["Delete", "BatchDelete", "Terminate", "Remove", "Deregister", "Release", "Purge"];
    let begins = |verbs: &[&str]| verbs.iter().any(|verb| operation.starts_with(verb));
    match access {
        None => 0,
        Some(Access::List | Access::Read) => 2,
        Some(Access::Write) if begins(CREATES) => 1,
        Some(Access::Write) if begins(DELETES) => 4,
        Some(Access::Write | Access::Tagging | Access::Permissions) => 3,
    }
}

fn status(outcome: Outcome) -> (i32, &'static str) {
    match outcome {
        Outcome::Unknown => (0, "Unknown"),
        Outcome::Done => (1, "Success"),
        Outcome::Denied
        | Outcome::Throttled
        | Outcome::Unauthenticated
        | Outcome::Failed
        | Outcome::Unanswered => (2, "Failure"),
        Outcome::Presigned => (99, "Presigned"),
    }
}

/// Whether OCSF takes it for a host's name.
fn is_hostname(text: &str) -> bool {
    let alphanumeric = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
    let label = |label: &str| {
        let bytes = label.as_bytes();
        alphanumeric(bytes.first())
            && alphanumeric(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(access: Option<Access>, operation: &str, number: i32) {
        assert_eq!(activity(access, operation), number, "{operation}");
    }

    #[test]
    fn only_a_write_creates_or_deletes() {
        check(Some(Access::Write), "CreateTable", 1);
        check(Some(Access::Write), "DeleteItem", 4);
        check(Some(Access::Write), "PutObject", 3);
        check(Some(Access::Read), "DeleteItem", 2);
        check(Some(Access::List), "ListTables", 2);
        check(Some(Access::Tagging), "DeleteTags", 3);
        check(Some(Access::Permissions), "PutBucketPolicy", 3);
        check(None, "CreateTable", 0);
    }

    #[test]
    fn a_name_that_is_no_hostname_is_told_from_one() {
        for (text, yes) in [
            ("s3.eu-west-1.amazonaws.com", true),
            ("a", true),
            ("my_bucket.s3.amazonaws.com", false),
            ("-a.example", false),
            ("a..b", false),
            ("", false),
        ] {
            assert_eq!(is_hostname(text), yes, "{text}");
        }
    }
}
