//! What is asked of the lake is what is found by looking at every record.

use std::collections::BTreeMap;

use calls::{Entry, Names, Needs, Record, Signer};
use lake::Sent;
use proptest::prelude::*;

use crate::{anything, story::Told};

const UNKNOWN: &str = "unknown";

fn or<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |it| it.to_string())
}

fn time(at: jiff::Timestamp) -> String {
    let text = at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    text.replace(".000Z", "Z")
}

fn records(sent: &[Sent]) -> Vec<(String, &Record)> {
    let mut records = Vec::new();
    for Sent { sender, frames } in sent {
        for frame in frames {
            for (index, entry) in frame.entries.iter().enumerate() {
                if let Entry::Calls(record) = entry {
                    let epoch = format!("{:02x}", sender.epoch[0]).repeat(16);
                    records
                        .push((format!("{}-{epoch}-{}-{index}", sender.agent, frame.seq), record));
                }
            }
        }
    }
    records.sort_by(|a, b| a.0.cmp(&b.0));
    records
}

fn account(record: &Record) -> Option<String> {
    match &record.key.signer {
        Signer::Leased { role, .. } => Some(role.account().to_string()),
        _ => record.key.access_key.as_ref()?.account().map(|it| it.to_string()),
    }
}

fn role(record: &Record) -> Option<String> {
    match &record.key.signer {
        Signer::Leased { role, .. } => Some(role.to_string()),
        _ => None,
    }
}

/// A row of `calls`, as far as it is one value each.
fn call(id: &str, record: &Record) -> Vec<String> {
    let (key, seen) = (&record.key, &record.sighting);
    let leased_to = match &key.signer {
        Signer::Leased { to, .. } => Some(to),
        _ => None,
    };
    let workload = key.workload.as_ref();
    vec![
        id.to_owned(),
        time(seen.first),
        time(seen.last),
        or(account(record)),
        or(key.region.as_ref()),
        key.service.to_string(),
        key.operation.to_string(),
        key.outcome.to_string(),
        or(seen.exception.as_ref()),
        seen.count.to_string(),
        or(workload.map(|it| &it.application)),
        or(workload.map(|it| &it.environment)),
        or(workload.map(|it| &it.instance)),
        or(workload),
        or(role(record)),
        or(key.access_key.as_ref()),
        or(leased_to),
        or(seen.request_id.as_ref()),
        or(seen.user_agent.as_ref()),
        or(seen.host.as_ref()),
        or(seen.longest.map(|it| it.as_millis())),
    ]
}

const CALLS: &str = "SELECT event_id, time, last, account, region, service, operation, outcome, error, count, \
    application, environment, instance, workload, role, access_key, leased_to, request_id, user_agent, \
    endpoint, longest_ms FROM calls ORDER BY event_id";

/// The rows of `needs` that a record gives.
fn needs(id: &str, record: &Record) -> Vec<Vec<String>> {
    let row = |action: Option<&String>, resource: Option<&str>| {
        vec![id.to_owned(), or(action), or(resource), record.sighting.count.to_string()]
    };
    let Needs::These(needs) = &record.key.named.needs else { return vec![row(None, None)] };
    let each = needs.iter().flat_map(|(action, names)| match names {
        Names::Unknown => vec![row(Some(action), None)],
        Names::These(on) if on.is_empty() => vec![row(Some(action), Some("*"))],
        Names::These(on) => on.iter().map(|on| row(Some(action), Some(on))).collect(),
    });
    each.collect()
}

async fn check(sent: Vec<Sent>) {
    let mut told = Told::new();
    let pieces = told.seal(sent.clone()).await;
    let records = records(&sent);
    assert_eq!(pieces.iter().map(|it| it.calls).sum::<u64>(), {
        records.iter().map(|(_, record)| record.sighting.count).sum::<u64>()
    });

    let expected: Vec<_> = records.iter().map(|(id, record)| call(id, record)).collect();
    assert_eq!(told.ask(CALLS).await, expected);

    let mut expected: Vec<_> = records.iter().flat_map(|(id, record)| needs(id, record)).collect();
    expected.sort();
    let mut found = told.ask("SELECT event_id, action, resource, count FROM needs").await;
    found.sort();
    assert_eq!(found, expected);

    // What is selected by partition and time is what filtering all gives, though fewer files are read.
    let from = jiff::Timestamp::from_millisecond(1_795_500_000_000 + 30 * 3_600_000).unwrap();
    let wanted = |record: &Record| {
        account(record).as_deref() == Some("222222222222")
            && record.key.region.as_ref().is_some_and(|it| it.as_str() == "eu-west-1")
            && record.sighting.first >= from
    };
    let count: u64 =
        records.iter().filter(|(_, it)| wanted(it)).map(|(_, it)| it.sighting.count).sum();
    let sql = format!(
        "SELECT coalesce(sum(count), 0) FROM calls WHERE account = '222222222222' AND region = 'eu-west-1' AND time >= '{from}'"
    );
    assert_eq!(told.ask(&sql).await, [[count.to_string()]]);

    let mut by_outcome: BTreeMap<String, u64> = BTreeMap::new();
    for (_, record) in &records {
        *by_outcome.entry(record.key.outcome.to_string()).or_default() += record.sighting.count;
    }
    let expected: Vec<_> =
        by_outcome.into_iter().map(|(outcome, count)| vec![outcome, count.to_string()]).collect();
    let sql = "SELECT outcome, sum(count) FROM calls GROUP BY outcome ORDER BY outcome";
    assert_eq!(told.ask(sql).await, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_what_looking_at_every_record_finds(sent in anything::sent()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(sent));
    }
}
