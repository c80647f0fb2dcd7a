//! An entry as a line of JSON.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use cloud::Region;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use workload::Workload;

use super::{Covered, Entry, Heard, Leased};
use crate::{
    Access, AccessKeyId, Basis, Coverage, End, Event, Hello, Key, Loss, Named, NamedBy, Names,
    Needs, Outcome, Parameters, Plane, Record, Refusals, Refused, Sighting, Signer, Trust, Why,
};

/// The most actions of a call, and the most resources of an action. Tables have far fewer.
const NAMES_MAX: usize = 1024;
/// The longest name of an action, in bytes.
const ACTION_MAX: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "kebab-case")]
enum Line<'a> {
    #[serde(borrow)]
    Calls(Box<Calls<'a>>),
    Leased(LeasedLine<'a>),
    Heard(HeardLine<'a>),
    Covered(CoveredLine<'a>),
}

/// Text that is borrowed wherever it can be.
type Text<'a> = Cow<'a, str>;

#[derive(Default, Serialize, Deserialize)]
struct Calls<'a> {
    /// The workload.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    w: Option<Text<'a>>,
    /// The access key.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    k: Option<Text<'a>>,
    /// Whether it is foreign.
    #[serde(default, skip_serializing_if = "is_false")]
    fo: bool,
    /// The role that it was leased for, and to whom, where that is not the workload.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    r: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    to: Option<Text<'a>>,
    t: Option<Trust>,
    #[serde(borrow)]
    s: Text<'a>,
    #[serde(borrow)]
    o: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    rg: Option<Text<'a>>,
    /// Actions and resources. Not there where they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<BTreeMap<String, Option<Vec<String>>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<Basis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<Access>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<Plane>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<NamedBy>,
    /// What could not be named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    u: BTreeMap<String, Vec<String>>,
    out: Option<Outcome>,
    c: u64,
    /// First and last, in ms.
    f: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l: Option<i64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    q: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    x: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    ua: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    h: Option<Text<'a>>,
    /// The longest, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<u64>,
    y: Option<Why>,
}

#[derive(Serialize, Deserialize)]
struct LeasedLine<'a> {
    #[serde(borrow)]
    k: Text<'a>,
    #[serde(borrow)]
    w: Text<'a>,
    #[serde(borrow)]
    r: Text<'a>,
    f: i64,
    l: i64,
}

#[derive(Serialize, Deserialize)]
struct HeardLine<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    w: Option<Text<'a>>,
    at: i64,
    #[serde(borrow)]
    language: Text<'a>,
    #[serde(borrow)]
    sdk: Text<'a>,
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow)]
    shim: Text<'a>,
}

#[derive(Serialize, Deserialize)]
struct CoveredLine<'a> {
    f: i64,
    l: i64,
    sent: u64,
    #[serde(default)]
    stored: u64,
    #[serde(default)]
    folded: u64,
    #[serde(default)]
    attempts: u64,
    #[serde(default)]
    held: u64,
    #[serde(default)]
    cut: u64,
    #[serde(default)]
    crashes: u64,
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    lost: BTreeMap<Text<'a>, u64>,
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    refused: BTreeMap<Text<'a>, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Appends the line, without its line feed.
pub(super) fn write(entry: &Entry, out: &mut Vec<u8>) {
    let line = match entry {
        Entry::Calls(record) => Line::Calls(Box::new(calls_line(record))),
        Entry::Leased(leased) => Line::Leased(LeasedLine {
            k: leased.access_key.as_str().into(),
            w: leased.workload.to_string().into(),
            r: leased.role.to_string().into(),
            f: leased.from.as_millisecond(),
            l: leased.until.as_millisecond(),
        }),
        Entry::Heard(heard) => Line::Heard(HeardLine {
            w: heard.workload.as_ref().map(|workload| workload.to_string().into()),
            at: heard.at.as_millisecond(),
            language: heard.language.as_str().into(),
            sdk: heard.sdk.as_str().into(),
            version: heard.sdk_version.as_str().into(),
            shim: heard.shim_version.as_str().into(),
        }),
        Entry::Covered(covered) => Line::Covered(covered_line(covered)),
    };
    // Only texts and numbers, into memory: there is nothing in it that can fail.
    let written = serde_json::to_writer(&mut *out, &line);
    debug_assert!(written.is_ok());
}

fn calls_line(record: &Record) -> Calls<'_> {
    let Record { key, sighting, why } = record;
    let text = |text: &Option<String>| text.clone().map(Text::Owned);
    let (fo, r, to) = match &key.signer {
        Signer::Leased { role, to } => {
            let other = (key.workload.as_ref() != Some(to)).then(|| to.to_string().into());
            (false, Some(role.to_string().into()), other)
        }
        Signer::Foreign => (true, None, None),
        Signer::Unknown => (false, None, None),
    };
    let names = |names: &Names| match names {
        Names::Unknown => None,
        Names::These(names) => Some(names.iter().cloned().collect()),
    };
    let n = match &key.named.needs {
        Needs::Unknown => None,
        Needs::These(needs) => {
            Some(needs.iter().map(|(action, on)| (action.clone(), names(on))).collect())
        }
    };
    let owned = |values: &Vec<Text<'_>>| values.iter().map(|value| value.to_string()).collect();
    Calls {
        w: key.workload.as_ref().map(|workload| workload.to_string().into()),
        k: key.access_key.as_ref().map(|key| key.as_str().into()),
        fo,
        r,
        to,
        t: Some(key.trust),
        s: (&*key.service).into(),
        o: (&*key.operation).into(),
        rg: key.region.as_ref().map(|region| region.as_str().into()),
        n,
        b: key.named.basis,
        a: key.named.access,
        p: key.named.plane,
        by: key.named.by,
        u: key.unnamed.iter().map(|(path, values)| (path.to_string(), owned(values))).collect(),
        out: Some(key.outcome),
        c: sighting.count,
        f: sighting.first.as_millisecond(),
        l: (sighting.last != sighting.first).then(|| sighting.last.as_millisecond()),
        q: text(&sighting.request_id),
        x: text(&sighting.exception),
        ua: text(&sighting.user_agent),
        h: text(&sighting.host),
        d: sighting.longest.map(|longest| u64::try_from(longest.as_millis()).unwrap_or(u64::MAX)),
        y: Some(*why),
    }
}

fn covered_line(covered: &Covered) -> CoveredLine<'_> {
    let Covered { from, to, coverage, refusals, held, cut_off, crashes } = covered;
    let lost = Loss::ALL.into_iter().map(|loss| (loss.as_str(), coverage.of(End::Lost(loss))));
    let refused = Refused::ALL.into_iter().map(|why| (why.as_str(), refusals.of(why)));
    let some = |(name, count): (&'static str, u64)| (count > 0).then(|| (Text::from(name), count));
    CoveredLine {
        f: from.as_millisecond(),
        l: to.as_millisecond(),
        sent: coverage.sent_in_all(),
        stored: coverage.of(End::Stored),
        folded: coverage.of(End::Folded),
        attempts: coverage.of(End::Attempt),
        held: *held,
        cut: *cut_off,
        crashes: *crashes,
        lost: lost.filter_map(some).collect(),
        refused: refused.filter_map(some).collect(),
    }
}

/// Reads a line. An error tells nothing of what it says.
pub(super) fn read(line: &[u8]) -> Result<Entry, &'static str> {
    match serde_json::from_slice(line).map_err(|_| "not an entry that this program knows")? {
        Line::Calls(calls) => read_calls(*calls).map(Entry::Calls),
        Line::Leased(line) => Ok(Entry::Leased(Leased {
            access_key: access_key(&line.k)?,
            workload: workload(&line.w)?,
            role: line.r.parse().map_err(|_| "not a role")?,
            from: time(line.f)?,
            until: time(line.l)?,
        })),
        Line::Heard(line) => {
            let text = |text: &str| bounded(text, Hello::TEXT_MAX).map(str::to_owned);
            Ok(Entry::Heard(Heard {
                workload: line.w.as_deref().map(workload).transpose()?,
                at: time(line.at)?,
                language: text(&line.language)?,
                sdk: text(&line.sdk)?,
                sdk_version: text(&line.version)?,
                shim_version: text(&line.shim)?,
            }))
        }
        Line::Covered(line) => read_covered(&line).map(Entry::Covered),
    }
}

fn read_calls(line: Calls<'_>) -> Result<Record, &'static str> {
    let who = line.w.as_deref().map(workload).transpose()?;
    let to = line.to.as_deref().map(workload).transpose()?.or_else(|| who.clone());
    let signer = match (line.r.as_deref(), line.fo) {
        (Some(role), false) => Signer::Leased {
            role: role.parse().map_err(|_| "not a role")?,
            to: to.ok_or("a lease of nobody")?,
        },
        (None, true) => Signer::Foreign,
        (None, false) => Signer::Unknown,
        (Some(_), true) => return Err("a key that is leased and foreign"),
    };
    let named =
        Named { needs: needs(line.n)?, basis: line.b, access: line.a, plane: line.p, by: line.by };
    let region = line.rg.map(|region| region.parse::<Region>().map_err(|_| "not a region"));
    let key = Key {
        workload: who,
        access_key: line.k.as_deref().map(access_key).transpose()?,
        signer,
        trust: line.t.ok_or("no trust")?,
        service: bounded(&line.s, Event::NAME_MAX)?.into(),
        operation: bounded(&line.o, Event::NAME_MAX)?.into(),
        region: region.transpose()?,
        named,
        unnamed: parameters(line.u)?,
        outcome: line.out.ok_or("no outcome")?,
    };
    let first = time(line.f)?;
    let sighting = Sighting {
        count: Some(line.c).filter(|count| *count > 0).ok_or("a count of nothing")?,
        first,
        last: line.l.map(time).transpose()?.map_or(first, |last| last.max(first)),
        request_id: example(line.q, Event::NAME_MAX)?,
        exception: example(line.x, Event::EXCEPTION_MAX)?,
        user_agent: example(line.ua, Event::USER_AGENT_MAX)?,
        host: example(line.h, Event::HOST_MAX)?,
        longest: line.d.map(|ms| Duration::from_millis(ms).min(Event::DURATION_MAX)),
    };
    Ok(Record { key: Arc::new(key), sighting, why: line.y.ok_or("no reason")? })
}

fn needs(line: Option<BTreeMap<String, Option<Vec<String>>>>) -> Result<Needs, &'static str> {
    let Some(line) = line else { return Ok(Needs::Unknown) };
    if line.len() > NAMES_MAX {
        return Err("too many actions");
    }
    let mut needs = BTreeMap::new();
    for (action, on) in line {
        bounded(&action, ACTION_MAX)?;
        let names = match on {
            None => Names::Unknown,
            Some(arns) if arns.len() > NAMES_MAX => return Err("too many resources"),
            Some(arns) => {
                arns.iter().try_for_each(|arn| bounded(arn, Event::VALUE_MAX).map(drop))?;
                Names::These(arns.into_iter().collect())
            }
        };
        needs.insert(action, names);
    }
    Ok(Needs::These(needs))
}

fn parameters(line: BTreeMap<String, Vec<String>>) -> Result<Parameters<'static>, &'static str> {
    if line.len() > Event::PATHS_MAX {
        return Err("too many paths");
    }
    let mut parameters = Parameters::new();
    for (path, values) in line {
        bounded(&path, Event::PATH_MAX)?;
        if values.len() > Event::VALUES_MAX {
            return Err("too many values");
        }
        values.iter().try_for_each(|value| match value.len() <= Event::VALUE_MAX {
            true => Ok(()),
            false => Err("a value that is too long"),
        })?;
        parameters.insert(path.into(), values.into_iter().map(Text::Owned).collect());
    }
    Ok(parameters)
}

fn read_covered(line: &CoveredLine<'_>) -> Result<Covered, &'static str> {
    let mut coverage = Coverage::default();
    coverage.sent(line.sent);
    coverage.ended(End::Stored, line.stored);
    coverage.ended(End::Folded, line.folded);
    coverage.ended(End::Attempt, line.attempts);
    for (name, count) in &line.lost {
        // A reason that a later agent knows is a loss all the same.
        let loss = Loss::named(name).unwrap_or(Loss::Shim(crate::ShimLoss::Other));
        coverage.ended(End::Lost(loss), *count);
    }
    let mut refusals = Refusals::default();
    for (name, count) in &line.refused {
        if let Some(why) = Refused::ALL.into_iter().find(|why| why.as_str() == name) {
            refusals.add(why, *count);
        }
    }
    let (from, to) = (time(line.f)?, time(line.l)?);
    let (held, cut_off, crashes) = (line.held, line.cut, line.crashes);
    Ok(Covered { from, to, coverage, refusals, held, cut_off, crashes })
}

fn time(ms: i64) -> Result<Timestamp, &'static str> {
    Timestamp::from_millisecond(ms).map_err(|_| "a time that cannot be")
}

fn workload(text: &str) -> Result<Workload, &'static str> {
    text.parse().map_err(|_| "not a workload")
}

fn access_key(text: &str) -> Result<AccessKeyId<'static>, &'static str> {
    AccessKeyId::parse(text).map(AccessKeyId::into_owned).ok_or("not an access key")
}

fn example(text: Option<Text<'_>>, max: usize) -> Result<Option<String>, &'static str> {
    text.map(|text| bounded(&text, max).map(str::to_owned)).transpose()
}

fn bounded(text: &str, max: usize) -> Result<&str, &'static str> {
    let legal = !text.is_empty() && text.len() <= max && !text.contains(char::is_control);
    legal.then_some(text).ok_or("a text that is empty, too long, or has control characters")
}
