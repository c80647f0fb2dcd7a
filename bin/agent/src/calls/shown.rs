//! What was recorded, as an operator sees it.

use std::fmt::Write;

use calls::{Covered, End, Entry, Leased, Loss, Names, Needs, Record, Refused, Signer};
use serde_json::{Map, Value, json};
use spool::Seq;

use super::store::Store;

/// How many bytes of frames one answer holds. Laid out they are about ten times as long.
const ANSWER_BYTES: usize = 256 * 1024;

/// Entries from a frame on, and which frame comes next.
///
/// # Errors
/// In words for the operator.
pub async fn read(store: &Store, from: Option<u64>) -> Result<Value, String> {
    let told = store.told();
    let from = from.unwrap_or(told.watermark);
    let frames = store.read(Seq(from), ANSWER_BYTES).await?;
    let next = frames.last().map_or(from, |frame| frame.at.seq.0 + 1);
    let mut entries = Vec::new();
    for frame in frames {
        let read = calls::read_batch(&frame.payload);
        let read = read.map_err(|error| format!("frame {}: {error}", frame.at.seq))?;
        entries.extend(read.iter().map(|one| entry(frame.at.seq, one)));
    }
    Ok(json!({ "epoch": told.epoch, "next": next, "entries": entries }))
}

fn entry(frame: Seq, entry: &Entry) -> Value {
    let mut value = match entry {
        Entry::Calls(record) => calls_value(record),
        Entry::Leased(Leased { access_key, workload, role, from, until }) => json!({
            "entry": "leased",
            "time": from.to_string(),
            "workload": workload.to_string(),
            "role": role.to_string(),
            "access_key": access_key.as_str(),
            "until": until.to_string(),
        }),
        Entry::Heard(heard) => json!({
            "entry": "heard",
            "time": heard.at.to_string(),
            "workload": heard.workload.as_ref().map(ToString::to_string),
            "language": heard.language,
            "sdk": heard.sdk,
            "sdk_version": heard.sdk_version,
            "shim_version": heard.shim_version,
        }),
        Entry::Covered(covered) => covered_value(covered),
    };
    if let Value::Object(value) = &mut value {
        value.insert("frame".to_owned(), json!(frame.0));
    }
    value
}

fn calls_value(record: &Record) -> Value {
    let (key, sighting) = (&record.key, &record.sighting);
    let (signer, role, leased_to) = match &key.signer {
        Signer::Leased { role, to } => ("leased", Some(role.to_string()), Some(to.to_string())),
        Signer::Foreign => ("foreign", None, None),
        Signer::Unknown => ("unknown", None, None),
    };
    let actions = match &key.named.needs {
        Needs::Unknown => Value::Null,
        Needs::These(needs) => {
            let on = |names: &Names| match names {
                Names::Unknown => Value::Null,
                Names::These(names) => json!(names),
            };
            Value::Object(needs.iter().map(|(action, names)| (action.clone(), on(names))).collect())
        }
    };
    let mut value = json!({
        "entry": "calls",
        "time": sighting.first.to_string(),
        "last": sighting.last.to_string(),
        "workload": key.workload.as_ref().map(ToString::to_string),
        "signer": signer,
        "role": role,
        "leased_to": leased_to,
        "access_key": key.access_key.as_ref().map(calls::AccessKeyId::as_str),
        "trust": key.trust,
        "service": key.service,
        "operation": key.operation,
        "region": key.region.as_ref().map(cloud::Region::as_str),
        "actions": actions,
        "access": key.named.access,
        "plane": key.named.plane,
        "basis": key.named.basis,
        "named_by": key.named.by,
        "outcome": key.outcome,
        "error": sighting.exception,
        "count": sighting.count,
        "request_id": sighting.request_id,
        "host": sighting.host,
        "user_agent": sighting.user_agent,
        "why": record.why,
    });
    if let (Value::Object(value), false) = (&mut value, key.unnamed.is_empty()) {
        value.insert("parameters".to_owned(), json!(key.unnamed));
    }
    value
}

fn covered_value(covered: &Covered) -> Value {
    let Covered { from, to, coverage, refusals, held, cut_off, crashes } = covered;
    let lost = Loss::ALL.into_iter().map(|loss| (loss.as_str(), coverage.of(End::Lost(loss))));
    let refused = Refused::ALL.into_iter().map(|why| (why.as_str(), refusals.of(why)));
    let some = |(name, count): (&str, u64)| (count > 0).then(|| (name.to_owned(), json!(count)));
    json!({
        "entry": "covered",
        "time": to.to_string(),
        "from": from.to_string(),
        "sent": coverage.sent_in_all(),
        "stored": coverage.of(End::Stored),
        "folded": coverage.of(End::Folded),
        "attempts": coverage.of(End::Attempt),
        "lost": lost.filter_map(some).collect::<Map<_, _>>(),
        "refused": refused.filter_map(some).collect::<Map<_, _>>(),
        "held": held,
        "cut_off": cut_off,
        "crashes": crashes,
    })
}

/// An entry as one line for people. What a process chose is told without characters that steer a terminal: texts were
/// refused that have them.
pub fn line(entry: &Value) -> String {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("-");
    let number = |name: &str| entry.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (time, workload) = (text("time"), text("workload"));
    match text("entry") {
        "calls" => {
            let mut line = format!("{time}  {workload}  {}", actions(entry));
            let outcome = text("outcome");
            let _ = write!(line, "  {outcome}");
            if outcome != "done" && text("error") != "-" {
                let _ = write!(line, " ({})", text("error"));
            }
            let count = number("count");
            if count > 1 {
                let _ = write!(line, "  x{count}");
            }
            if text("signer") == "foreign" {
                let _ = write!(line, "  foreign key {}", text("access_key"));
            }
            if text("leased_to") != "-" && text("leased_to") != workload {
                let _ = write!(line, "  with the lease of {}", text("leased_to"));
            }
            line
        }
        "leased" => format!("{time}  {workload}  leased {} until {}", text("role"), text("until")),
        "heard" => format!("{time}  {workload}  speaks: {} {}", text("sdk"), text("sdk_version")),
        "covered" => format!(
            "{time}  coverage: {} sent, {} stored, {} folded, lost {}",
            number("sent"),
            number("stored"),
            number("folded"),
            entry.get("lost").map(ToString::to_string).unwrap_or_default(),
        ),
        _ => entry.to_string(),
    }
}

/// `s3:GetObject on arn:aws:s3:::reports/2026/*`, or the operation where no table knows its action.
fn actions(entry: &Value) -> String {
    let operation = || {
        let name = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("-");
        format!("{} {} (no action known)", name("service"), name("operation"))
    };
    let Some(Value::Object(actions)) = entry.get("actions") else { return operation() };
    if actions.is_empty() {
        let name = entry.get("operation").and_then(Value::as_str).unwrap_or("-");
        return format!("{name} (needs no leave)");
    }
    let on = |names: &Value| match names {
        Value::Array(names) if names.is_empty() => String::new(),
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            format!(" on {}", names.join(" "))
        }
        _ => " on something unknown".to_owned(),
    };
    let each = actions.iter().map(|(action, names)| format!("{action}{}", on(names)));
    each.collect::<Vec<_>>().join(", ")
}
