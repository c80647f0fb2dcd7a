//! The ledger: read, and signed where it stands.

use std::sync::Arc;

use ::ledger::{Checkpoint, Hash, Statement};
use api::{
    Action, Page, PageAsked, Problem,
    agents::Jwk,
    ledger::{Checkpoint as WireCheckpoint, Entries, EntriesAsked, Entry, LedgerKeys},
};
use getrandom::SysRng;
use jiff::Timestamp;

use crate::{
    caller::Person,
    cursor,
    fault::{OrProblem, internal},
    permit::{Acting, Leave, OwnPermit},
    policies::Resource,
    server::Server,
};

/// Reads entries in their order.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn read(
    server: Arc<Server>,
    person: Person,
    (): (),
    asked: EntriesAsked,
    (): (),
) -> Result<Entries, Problem> {
    person.may(&server, Action::ReadLedger, &Resource::Deployment).await?.seen();
    let limit = cursor::limit(asked.limit);
    let mut reading = server.state.read().await.or_problem()?;
    let entries = reading.entries(asked.after.unwrap_or(0), limit + 1).await.or_problem()?;
    let enough = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > enough;
    let items: Vec<Entry> = entries.into_iter().take(enough).map(told).collect();
    let next = items.last().filter(|_| more).map(|entry| entry.seq);
    Ok(Entries { items, next, read: server.clock.now() })
}

/// Lists the checkpoints, latest first.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn checkpoints(
    server: Arc<Server>,
    person: Person,
    (): (),
    asked: PageAsked,
    (): (),
) -> Result<Page<WireCheckpoint>, Problem> {
    person.may(&server, Action::ReadLedger, &Resource::Deployment).await?.seen();
    let limit = cursor::limit(asked.limit);
    let after = cursor::read::<(u64, Timestamp)>(asked.after.as_ref())?;
    // Of the one that a page ended with, its place in the list is all that is asked for.
    let after = after.map(|(seq, time)| Checkpoint {
        seq,
        hash: Hash::ZERO,
        time,
        key: String::new(),
        signature: String::new(),
    });
    let mut reading = server.state.read().await.or_problem()?;
    let found = reading.checkpoints(after.as_ref(), limit + 1).await.or_problem()?;
    let page = cursor::page(found, limit, |checkpoint| (checkpoint.seq, checkpoint.time));
    Ok(Page { items: page.items.into_iter().map(signed).collect(), next: page.next })
}

/// Signs where the ledger stands now.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn make_checkpoint(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    (): (),
) -> Result<WireCheckpoint, Problem> {
    let permit = person.may(&server, Action::ReadLedger, &Resource::Deployment).await?;
    checkpoint(&server, &permit).await.map(|(checkpoint, _)| signed(checkpoint))
}

/// Shows the public keys of checkpoints.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn keys(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    (): (),
) -> Result<LedgerKeys, Problem> {
    person.may(&server, Action::ReadLedger, &Resource::Deployment).await?.seen();
    Ok(LedgerKeys { keys: vec![jwk(server.ledger_key.public())] })
}

/// Signs where the ledger stands, if that was not done since its last entry; answers whether it was done.
///
/// # Errors
/// When the database cannot be written.
pub async fn checkpoint_by_itself(server: &Server) -> Result<bool, Problem> {
    checkpoint(server, &OwnPermit::server()).await.map(|(_, new)| new)
}

async fn checkpoint(server: &Server, leave: &impl Leave) -> Result<(Checkpoint, bool), Problem> {
    let mut act = server.act(leave).await?;
    let tail = act.tail();
    let last = act.checkpoints(None, 1).await.or_problem()?;
    if let Some(last) = last.into_iter().next().filter(|last| last.seq == tail.seq) {
        return Ok((last, false));
    }
    let checkpoint = sign(server, &act)?;
    act.put_checkpoint(&checkpoint).await.or_problem()?;
    act.commit().await?;
    Ok((checkpoint, true))
}

fn sign(server: &Server, act: &Acting) -> Result<Checkpoint, Problem> {
    let key = &server.ledger_key;
    let statement = Statement { tail: act.tail(), time: act.now(), key: key.kid().to_string() };
    let signature = key.sign(&statement.message(), &mut SysRng);
    Ok(statement.signed(&signature.map_err(|error| internal(&error))?))
}

/// A public key as the API tells it.
pub fn jwk(key: &issuer::Jwk) -> Jwk {
    match key.to_json() {
        serde_json::Value::Object(members) => members,
        // A public key is an object.
        _ => Jwk::new(),
    }
}

fn told(entry: ::ledger::Entry) -> Entry {
    Entry {
        seq: entry.seq,
        time: entry.time.to_string(),
        actor: entry.actor,
        event: entry.event,
        subject: entry.subject,
        detail: entry.detail,
        previous: entry.previous.to_string(),
        hash: entry.hash.to_string(),
    }
}

fn signed(checkpoint: Checkpoint) -> WireCheckpoint {
    WireCheckpoint {
        seq: checkpoint.seq,
        hash: checkpoint.hash.to_string(),
        time: checkpoint.time.to_string(),
        key: checkpoint.key,
        signature: checkpoint.signature,
    }
}
