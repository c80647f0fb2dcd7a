//! `rolecall ledger`: what was done, and whether the record of it is whole.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use api::{
    PageAsked,
    agents::Jwk,
    ledger::{
        EntriesAsked, LedgerKeys, ListCheckpoints, MakeCheckpoint, ReadLedger, ReadLedgerKey,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use ledger::{Broken, Checkpoint, Entry, LINE_MAX, Tail, Verifier};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Done, Failure,
    line::{Line, Paging, Place},
    paper::{Output, note, show, table, when},
};

/// The largest file of checkpoints or keys that is read, in bytes.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// After how many entries it is told how far the reading is.
const TELL_EVERY: u64 = 100_000;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall ledger show --after 4000 --limit 20
  rolecall ledger checkpoint >> /somewhere/else/checkpoints.ndjson
  rolecall ledger verify --checkpoints /somewhere/else/checkpoints.ndjson
  rolecall ledger export --out ledger.ndjson
  rolecall ledger verify --file ledger.ndjson --checkpoints checkpoints.ndjson --keys keys.json

A checkpoint that is kept where the server's operators cannot reach it also finds an end that was cut off
and a ledger that was written anew.")]
pub(crate) enum Ledger {
    /// Show entries, in their order.
    Show {
        /// Those after this number.
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u64,
    },
    /// Write all entries, one JSON text a line, for `verify --file`.
    Export {
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Verify that nothing was changed, taken out, put in or cut off. Exit code 1, and the place, if not.
    Verify(Verify),
    /// Let the server sign where the ledger stands now, and print it as one line to be kept elsewhere.
    Checkpoint,
    /// Print the public keys that checkpoints are signed with, to be kept elsewhere.
    Keys,
    /// List the checkpoints that the server has, latest first.
    Checkpoints(Paging),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Verify this file of entries, one a line, instead of asking the server.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Checkpoints that were kept, one a line, besides those that the server tells.
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
    /// The public keys that were kept, as `rolecall ledger keys` printed them, instead of those that the
    /// server tells.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// What a verification came to.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Outcome {
    holds: bool,
    /// How many entries were read and found good.
    entries: u64,
    /// How many signed checkpoints agreed.
    checkpoints: u64,
    /// The last entry that was found good.
    seq: u64,
    /// Its hash.
    hash: String,
    /// Which entries lie after the last checkpoint: an end cut off among them would not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsigned_after: Option<u64>,
    /// What is wrong; absent where it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
}

impl Ledger {
    pub(crate) async fn execute(&self, place: &Place, output: Output) -> Result<Done, Failure> {
        match self {
            Self::Show { after, limit } => {
                shown(&place.connect(output)?, *after, *limit).await?;
                Ok(Done::Yes)
            }
            Self::Export { out } => {
                export(&place.connect(output)?, out).await?;
                Ok(Done::Yes)
            }
            Self::Verify(verify) => verify.execute(place, output).await,
            Self::Checkpoint => {
                let line = place.connect(output)?;
                let checkpoint = line.ask::<MakeCheckpoint>(&(), &(), &()).await?;
                // One line in either form: it is made to be kept in a file of lines.
                crate::paper::print(&serde_json::to_string(&checkpoint).map_err(Failure::world)?);
                Ok(Done::Yes)
            }
            Self::Keys => {
                let keys = place.connect(output)?.ask::<ReadLedgerKey>(&(), &(), &()).await?;
                crate::paper::print(&serde_json::to_string_pretty(&keys).map_err(Failure::world)?);
                Ok(Done::Yes)
            }
            Self::Checkpoints(paging) => {
                let line = place.connect(output)?;
                let listed = paging
                    .follow(async |limit, after| {
                        line.ask::<ListCheckpoints>(&(), &PageAsked { limit, after }, &()).await
                    })
                    .await?;
                line.list(&listed, |checkpoints| {
                    let mut table = table(["entry", "hash", "signed", "key"]);
                    for signed in checkpoints {
                        let seq = signed.seq.to_string();
                        table.add_row([&seq, &signed.hash, &signed.time, &signed.key]);
                    }
                    table.to_string()
                })?;
                Ok(Done::Yes)
            }
        }
    }
}

async fn shown(line: &Line, mut after: Option<u64>, limit: u64) -> Result<(), Failure> {
    let mut items = Vec::new();
    let mut more = true;
    while more {
        let left = limit.saturating_sub(u64::try_from(items.len()).unwrap_or(u64::MAX));
        let Some(limit) = u32::try_from(left.min(500)).ok().and_then(|n| api::Limit::new(n).ok())
        else {
            break;
        };
        let asked = EntriesAsked { after, limit: Some(limit) };
        let page = line.ask::<ReadLedger>(&(), &asked, &()).await?;
        items.extend(page.items);
        more = page.next.is_some();
        after = page.next;
    }
    line.list(&crate::line::Listed { items, more }, |entries| {
        let mut table = table(["entry", "time", "actor", "event", "subject", "detail"]);
        for entry in entries {
            let detail = serde_json::to_string(&entry.detail).unwrap_or_default();
            let seq = entry.seq.to_string();
            let detail = if detail == "{}" { String::new() } else { detail };
            table.add_row([&seq, &entry.time, &entry.actor, &entry.event, &entry.subject, &detail]);
        }
        table.to_string()
    })
}

/// Hands over every entry that the server has, in order.
async fn each(
    line: &Line,
    mut take: impl FnMut(Entry) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut after = None;
    let mut read = 0_u64;
    loop {
        let asked = EntriesAsked { after, limit: api::Limit::new(500).ok() };
        let page = line.ask::<ReadLedger>(&(), &asked, &()).await?;
        for entry in page.items {
            let number = entry.seq;
            // The wire's entry is the ledger's own, in texts; what cannot be one was never written.
            let entry = serde_json::to_value(&entry).and_then(serde_json::from_value::<Entry>);
            let entry = entry.map_err(|error| {
                Failure::World(format!("what stands at entry {number} is no entry: {error}"))
            })?;
            if !take(entry)? {
                return Ok(());
            }
            read += 1;
            if read.is_multiple_of(TELL_EVERY) {
                note(&format!("{read} entries read"));
            }
        }
        match page.next {
            Some(next) if after.is_none_or(|after| next > after) => after = Some(next),
            Some(_) => {
                return Err(Failure::World("the server tells the same page again".to_owned()));
            }
            None => return Ok(()),
        }
    }
}

async fn export(line: &Line, out: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::World(format!("`{}`: {error}", out.display()));
    let file = File::create_new(out).map_err(failed)?;
    let mut file = std::io::BufWriter::new(file);
    let mut entries = 0_u64;
    each(line, |entry| {
        entries += 1;
        writeln!(file, "{}", ledger::write_line(&entry)).map_err(failed)?;
        Ok(true)
    })
    .await?;
    file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    note(&format!("{entries} entries are in `{}`", out.display()));
    Ok(())
}

impl Verify {
    async fn execute(&self, place: &Place, output: Output) -> Result<Done, Failure> {
        let mut checkpoints: Vec<Checkpoint> = match &self.checkpoints {
            Some(path) => lines(path)?,
            None => Vec::new(),
        };
        let mut keys = match &self.keys {
            Some(path) => Some(Keys::read(path)?),
            None => None,
        };
        let line = match &self.file {
            Some(_) => None,
            None => Some(place.connect(output)?),
        };
        if let Some(line) = &line {
            // Before the entries: a checkpoint that is made meanwhile must not look like a cut.
            checkpoints.extend(known_checkpoints(line).await?);
            if keys.is_none() {
                keys = Some(Keys::new(&line.ask::<ReadLedgerKey>(&(), &(), &()).await?)?);
            }
        }
        let keys = match (keys, checkpoints.is_empty()) {
            (Some(keys), _) => keys,
            (None, true) => Keys(BTreeMap::new()),
            (None, false) => {
                let words = "--checkpoints needs --keys, to see whether they are signed";
                return Err(Failure::Input(words.to_owned()));
            }
        };
        let outcome = match (false_checkpoint(&checkpoints, &keys), &self.file, &line) {
            (Some(broken), _, _) => Outcome::broken(0, Tail::EMPTY, &broken),
            (None, Some(path), _) => of_file(path, checkpoints)?,
            (None, None, Some(line)) => of_server(line, checkpoints).await?,
            (None, None, None) => return Err(Failure::Input("there is nothing to verify".into())),
        };
        show(output, &outcome, tell)?;
        Ok(if outcome.holds { Done::Yes } else { Done::No })
    }
}

async fn known_checkpoints(line: &Line) -> Result<Vec<Checkpoint>, Failure> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let asked = PageAsked { limit: api::Limit::new(500).ok(), after };
        let page = line.ask::<ListCheckpoints>(&(), &asked, &()).await?;
        for signed in page.items {
            let seq = signed.seq;
            let signed = serde_json::to_value(&signed).and_then(serde_json::from_value);
            all.push(signed.map_err(|error| {
                Failure::World(format!(
                    "what the server tells of entry {seq} is no checkpoint: {error}"
                ))
            })?);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

/// The keys that checkpoints are signed with: for each id a point of P-256, uncompressed.
#[derive(Debug)]
struct Keys(BTreeMap<String, Vec<u8>>);

impl Keys {
    fn read(path: &Path) -> Result<Self, Failure> {
        let keys: LedgerKeys = serde_json::from_slice(&small(path)?).map_err(|error| {
            Failure::Input(format!(
                "`{}`: {error}; `rolecall ledger keys` prints them",
                path.display()
            ))
        })?;
        Self::new(&keys)
    }

    fn new(keys: &LedgerKeys) -> Result<Self, Failure> {
        let keys = keys.keys.iter().map(|jwk| {
            point(jwk).ok_or_else(|| {
                Failure::Input("a key of the ledger is not one of P-256 with an id".to_owned())
            })
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    fn verify(&self, key: &str, message: &[u8], signature: &[u8]) -> bool {
        self.0.get(key).is_some_and(|point| {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
            key.verify(message, signature).is_ok()
        })
    }
}

fn point(jwk: &Jwk) -> Option<(String, Vec<u8>)> {
    let text = |name: &str| jwk.get(name).and_then(|value| value.as_str());
    let part =
        |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok().filter(|part| part.len() == 32);
    if text("kty") != Some("EC") || text("crv") != Some("P-256") {
        return None;
    }
    let uncompressed = [vec![4], part("x")?, part("y")?].concat();
    Some((text("kid")?.to_owned(), uncompressed))
}

/// The first checkpoint whose signature is not good.
fn false_checkpoint(checkpoints: &[Checkpoint], keys: &Keys) -> Option<String> {
    let bad = checkpoints.iter().find(|signed| {
        !signed.is_signed(|key, message, signature| keys.verify(key, message, signature))
    })?;
    let known = keys.0.contains_key(&bad.key);
    let why = if known { "its signature is not good" } else { "no key with its id is known" };
    Some(format!(
        "the checkpoint of entry {} from {} proves nothing: {why}",
        bad.seq,
        when(bad.time)
    ))
}

impl Outcome {
    fn broken(entries: u64, tail: Tail, why: &impl ToString) -> Self {
        let (seq, hash) = (tail.seq, tail.hash.to_string());
        let broken = Some(why.to_string());
        Self { holds: false, entries, checkpoints: 0, seq, hash, unsigned_after: None, broken }
    }
}

/// Takes entries until one does not belong.
struct Reading {
    verifier: Verifier,
    last_signed: Option<u64>,
    entries: u64,
    tail: Tail,
    broken: Option<Broken>,
}

impl Reading {
    fn new(checkpoints: Vec<Checkpoint>) -> Self {
        let last_signed = checkpoints.iter().map(|signed| signed.seq).max();
        let verifier = Verifier::new(checkpoints);
        Self { verifier, last_signed, entries: 0, tail: Tail::EMPTY, broken: None }
    }

    /// Whether another entry is wanted.
    fn take(&mut self, entry: &Entry) -> bool {
        match self.verifier.take(entry) {
            Ok(()) => {
                self.entries += 1;
                self.tail = entry.tail();
                true
            }
            Err(broken) => {
                self.broken = Some(broken);
                false
            }
        }
    }

    fn finish(self) -> Outcome {
        let Self { verifier, last_signed, entries, tail, broken } = self;
        let done = match broken {
            Some(broken) => Err(broken),
            None => verifier.finish(),
        };
        match done {
            Ok(verified) => {
                let unsigned_after = last_signed.unwrap_or(0);
                Outcome {
                    holds: true,
                    entries: verified.entries,
                    checkpoints: verified.checkpoints,
                    seq: verified.tail.seq,
                    hash: verified.tail.hash.to_string(),
                    unsigned_after: (verified.tail.seq > unsigned_after).then_some(unsigned_after),
                    broken: None,
                }
            }
            Err(broken) => Outcome::broken(entries, tail, &broken),
        }
    }
}

async fn of_server(line: &Line, checkpoints: Vec<Checkpoint>) -> Result<Outcome, Failure> {
    let mut reading = Reading::new(checkpoints);
    each(line, |entry| Ok(reading.take(&entry))).await?;
    Ok(reading.finish())
}

fn of_file(path: &Path, checkpoints: Vec<Checkpoint>) -> Result<Outcome, Failure> {
    let at = |error: std::io::Error| Failure::Input(format!("`{}`: {error}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(at)?);
    let mut reading = Reading::new(checkpoints);
    let mut number = 0_u64;
    let mut text = Vec::new();
    loop {
        text.clear();
        number += 1;
        // One byte more than the longest line and its line feed tells that it is too long.
        let most = u64::try_from(LINE_MAX).unwrap_or(u64::MAX).saturating_add(2);
        if file.by_ref().take(most).read_until(b'\n', &mut text).map_err(at)? == 0 {
            return Ok(reading.finish());
        }
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        match ledger::read_line(text) {
            Ok(entry) => {
                if !reading.take(&entry) {
                    return Ok(reading.finish());
                }
            }
            Err(error) => {
                let why = format!("line {number}: {error}");
                return Ok(Outcome::broken(reading.entries, reading.tail, &why));
            }
        }
    }
}

fn tell(outcome: &Outcome) -> String {
    let Outcome { entries, checkpoints, seq, hash, unsigned_after, broken, .. } = outcome;
    if let Some(broken) = broken {
        return format!("broken: {broken}\nthe {entries} entries before hold, up to {seq} {hash}");
    }
    let open = match unsigned_after {
        Some(0) => {
            "\nno checkpoint covers any of it: that the end was not cut off is not known".to_owned()
        }
        Some(after) => format!(
            "\nno checkpoint covers what follows entry {after}: that the end was not cut off there is not known"
        ),
        None => String::new(),
    };
    format!(
        "{entries} entries hold, {checkpoints} checkpoints agree; it ends at {seq} {hash}{open}"
    )
}

/// A file that is small enough to be read whole.
fn small(path: &Path) -> Result<Vec<u8>, Failure> {
    let at =
        |why: &dyn ToString| Failure::Input(format!("`{}`: {}", path.display(), why.to_string()));
    match fs::metadata(path).map_err(|error| at(&error))?.len() {
        size if size > FILE_MAX => Err(at(&format!("it has {size} bytes, more than {FILE_MAX}"))),
        _ => fs::read(path).map_err(|error| at(&error)),
    }
}

/// A file of JSON texts, one a line.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Failure> {
    let text = small(path)?;
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let read = lines.map(|(index, line)| {
        serde_json::from_slice(line).map_err(|error| {
            Failure::Input(format!("`{}` line {}: {error}", path.display(), index + 1))
        })
    });
    read.collect()
}
