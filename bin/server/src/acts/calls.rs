//! Calls: what hosts send of them, and what people ask.

use std::sync::Arc;

use api::{
    Action, Problem,
    calls::{CallsAnswer, CallsAsked, FramesSent, FramesTaken, Sender, Senders},
};

use super::resource;
use crate::{
    caller::{Host, Person},
    fault::OrProblem,
    lake,
    policies::Resource,
    server::Server,
};

/// Stores frames of a host's spool.
///
/// # Errors
/// When they cannot be read, or cannot be stored now.
pub async fn send(
    server: Arc<Server>,
    host: Host,
    (): (),
    (): (),
    sent: FramesSent,
) -> Result<FramesTaken, Problem> {
    let waters = lake::of(server.waters.as_ref())?;
    let next = waters.intake.take(host.id(), sent).await?;
    Ok(FramesTaken { next: next.0 })
}

/// Answers a question about calls.
///
/// # Errors
/// When the person may not ask it, it is wrong or takes too much, or the lake cannot be read.
pub async fn query(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    asked: CallsAsked,
) -> Result<CallsAnswer, Problem> {
    let about = match &asked.application {
        Some(application) => {
            let known = server.refresher.known();
            resource(&known.knowledge, application, None)
        }
        None => Resource::Deployment,
    };
    person.may(&server, Action::ReadCalls, &about).await?.seen();
    let waters = lake::of(server.waters.as_ref())?;
    waters.questions.answer(&server.state, &server.clock, asked).await
}

/// Lists how far each host's calls are stored.
///
/// # Errors
/// As all endpoints: when the person may not, or the database gives no answer.
pub async fn senders(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    (): (),
) -> Result<Senders, Problem> {
    person.may(&server, Action::ReadCalls, &Resource::Deployment).await?.seen();
    let known = server.refresher.known();
    let marks = server.state.read().await.or_problem()?.watermarks().await.or_problem()?;
    let senders = marks.into_iter().map(|mark| Sender {
        name: known
            .knowledge
            .host(&mark.host)
            .map_or_else(|| mark.host.clone(), |host| host.name.clone()),
        host: mark.host,
        epoch: mark.epoch,
        next: mark.next,
        calls: mark.calls,
        missing: mark.missing,
        changed: mark.changed,
    });
    Ok(Senders { senders: senders.collect() })
}
