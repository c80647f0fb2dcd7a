//! Every row of calls is API Activity of OCSF 1.3.0, as its schema has it.

use std::fs::File;

use arrow::{array::RecordBatch, json::LineDelimitedWriter};
use lake::{Dataset, Piece};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use regex::Regex;
use serde_json::Value;

use crate::{
    anything,
    story::{Told, call, needs, with},
};

/// The schema, and a judge that knows no row of ours.
struct Schema(Value);

impl Schema {
    fn new() -> Self {
        Self(serde_json::from_str(include_str!("api_activity-1.3.0.json")).unwrap())
    }

    /// What is wrong with a row.
    fn wrong(&self, row: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        self.object("row", row, &self.0["class"], &mut wrong);
        wrong
    }

    fn object(&self, place: &str, value: &Value, rules: &Value, wrong: &mut Vec<String>) {
        let attributes = rules["attributes"].as_object().unwrap();
        let Some(members) = value.as_object() else {
            return wrong.push(format!("{place} is no object"));
        };
        for (name, rule) in attributes {
            if rule["requirement"] == "required" && !members.contains_key(name) {
                wrong.push(format!("{place}.{name} is missing"));
            }
        }
        if let Some(some) = rules["constraints"]["at_least_one"].as_array()
            && !some.iter().any(|name| members.contains_key(name.as_str().unwrap()))
        {
            wrong.push(format!("{place} has none of {some:?}"));
        }
        for (name, value) in members {
            let place = format!("{place}.{name}");
            let Some(rule) = attributes.get(name) else {
                // The object that holds what has no place may have anything.
                if !attributes.is_empty() {
                    wrong.push(format!("{place} is not in the schema"));
                }
                continue;
            };
            match (rule["array"] == true, value.as_array()) {
                (true, Some(values)) => {
                    values.iter().for_each(|value| self.value(&place, value, rule, wrong));
                }
                (false, None) => self.value(&place, value, rule, wrong),
                _ => wrong.push(format!("{place} is or is not a list")),
            }
        }
    }

    fn value(&self, place: &str, value: &Value, rule: &Value, wrong: &mut Vec<String>) {
        if let Some(object) = rule["object"].as_str() {
            let rules = &self.0["objects"][object];
            assert!(rules.is_object(), "{object} is not in the vendored schema");
            return self.object(place, value, rules, wrong);
        }
        let kind = &self.0["types"][rule["type"].as_str().unwrap()];
        let fits = match kind["base"].as_str().unwrap() {
            "integer_t" | "long_t" => value.is_i64(),
            "string_t" => value.is_string(),
            "json_t" => true,
            base => panic!("{base} is not known to the judge"),
        };
        if !fits {
            wrong.push(format!("{place} is no {}", rule["type"]));
        }
        if let Some(some) = rule["enum"].as_array()
            && !some.contains(value)
        {
            wrong.push(format!("{place} is {value}, and none of {some:?}"));
        }
        let text = value.as_str().unwrap_or_default();
        if kind["max_len"].as_u64().is_some_and(|most| text.chars().count() as u64 > most) {
            wrong.push(format!("{place} is too long"));
        }
        if let Some(pattern) = kind["regex"].as_str()
            && !Regex::new(pattern).unwrap().is_match(text)
        {
            wrong.push(format!("{place} is not like {pattern}: {text}"));
        }
    }
}

/// The rows of a file, as any reader of Parquet sees them.
pub(crate) fn read(told: &Told, piece: &Piece) -> Vec<RecordBatch> {
    let file = File::open(told.folder.join(&piece.path)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

fn rows(told: &Told) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut lines);
    let calls = told.manifest.0.iter().filter(|it| it.partition.dataset == Dataset::Calls);
    for batch in calls.flat_map(|piece| read(told, piece)) {
        writer.write(&batch).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    let lines = String::from_utf8(lines).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_row_says_what_ocsf_wants_it_to_say() {
    let record = with(call("2026-11-25T10:00:00.123Z"), |key| key.outcome = calls::Outcome::Denied);
    let mut record = crate::story::times(record, 3, "2026-11-25T10:00:01.123Z");
    record.sighting.request_id = Some("R1".to_owned());
    record.sighting.exception = Some("AccessDenied".to_owned());
    let told = Told::of_calls(vec![record]).await;
    let rows = rows(&told);
    whole(&rows[0]);
    assert_eq!(Schema::new().wrong(&rows[0]), [""; 0]);
}

/// All of a row.
fn whole(row: &Value) {
    let expected = serde_json::json!({
        "activity_id": 2, "category_uid": 6, "class_uid": 6003, "type_uid": 600_302, "severity_id": 1,
        "status_id": 2, "status": "Failure", "status_code": "denied",
        "time": 1_795_600_800_123_i64, "time_dt": "2026-11-25T10:00:00.123Z", "count": 3,
        "start_time": 1_795_600_800_123_i64, "end_time": 1_795_600_801_123_i64,
        "metadata": {
            "version": "1.3.0",
            "product": { "name": "Rolecall", "vendor_name": "Rolecall", "version": env!("CARGO_PKG_VERSION") },
            "uid": "host-1-01010101010101010101010101010101-1-0",
            "profiles": ["cloud", "datetime"],
        },
        "actor": {
            "user": {
                "type": "AssumedRole", "uid": "arn:aws:iam::222222222222:role/orders",
                "credential_uid": "ASIAORDERS0000000001", "account": { "uid": "222222222222" },
            },
            "app_name": "orders",
        },
        "api": {
            "operation": "GetObject", "service": { "name": "S3" }, "request": { "uid": "R1" },
            "response": { "error": "AccessDenied" },
        },
        "cloud": { "provider": "AWS", "region": "eu-west-1", "account": { "uid": "222222222222" } },
        "src_endpoint": { "hostname": "host-1", "uid": "orders/prod/1" },
        "dst_endpoint": { "hostname": "reports.s3.eu-west-1.amazonaws.com" },
        "http_request": { "user_agent": "Boto3/1.44.5" },
        "resources": [{ "uid": "arn:aws:s3:::reports/a/*", "labels": ["s3:GetObject"] }],
        "unmapped": {
            "trust": "shim", "signer": "leased", "access": "read", "plane": "data", "basis": "listed",
            "named_by": "bare", "why": "first", "longest_ms": 12,
        },
    });
    assert_eq!(row, &expected);
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let schema = Schema::new();
    let wrong = |change: fn(&mut Value)| {
        let mut row = serde_json::json!({
            "activity_id": 1, "category_uid": 6, "class_uid": 6003, "type_uid": 600_301, "severity_id": 1, "time": 1,
            "metadata": { "version": "1.3.0", "product": { "vendor_name": "R", "name": "R" } },
            "actor": { "app_name": "a" }, "api": { "operation": "A" }, "cloud": { "provider": "AWS" },
            "src_endpoint": { "name": "a" },
        });
        change(&mut row);
        schema.wrong(&row).len()
    };
    assert_eq!(wrong(|_| ()), 0);
    assert_eq!(wrong(|row| row["activity_id"] = 7.into()), 1);
    assert_eq!(wrong(|row| row["time"] = "1".into()), 1);
    assert_eq!(wrong(|row| row["more"] = 1.into()), 1);
    assert_eq!(wrong(|row| row["actor"] = serde_json::json!({})), 1);
    assert_eq!(wrong(|row| row["api"]["request"] = serde_json::json!({})), 1);
    assert_eq!(wrong(|row| row["src_endpoint"]["hostname"] = "a b".into()), 1);
    assert_eq!(wrong(|row| row["resources"] = serde_json::json!({ "uid": "a" })), 1);
    assert_eq!(wrong(|row| row["unmapped"] = serde_json::json!({ "anything": 1 })), 0);
}

#[tokio::test]
async fn a_call_of_which_nothing_is_known_is_valid_too() {
    let record = with(call("2026-11-25T10:00:00Z"), |key| {
        key.workload = None;
        key.access_key = None;
        key.signer = calls::Signer::Unknown;
        key.region = None;
        key.named = calls::Named::default();
    });
    let told = Told::of_calls(vec![
        record,
        with(call("2026-11-25T10:00:00Z"), |key| {
            key.named.needs = needs(&[("s3:GetObject", None), ("s3:ListAllMyBuckets", Some(&[]))]);
        }),
    ])
    .await;
    for row in rows(&told) {
        assert_eq!(Schema::new().wrong(&row), [""; 0], "{row:#}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_valid(sent in anything::sent()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut told = Told::new();
            told.seal(sent).await;
            let schema = Schema::new();
            for row in rows(&told) {
                assert_eq!(schema.wrong(&row), [""; 0], "{row:#}");
            }
        });
    }
}
