//! The issuer's keys: made, rotated and retired, by people or on schedule.

use std::sync::Arc;

use ::issuer::{Algorithm, Due, Key as _, KeyId, KeyRing, Lead, RotateRefused, SigningKey};
use api::{
    Action, Kind, Problem,
    bindings::{AUDIENCE, Audience},
    issuer::{Algorithm as WireAlgorithm, Issuer, Key, KeyFacts, KeyPath, Rotation},
    switch::ReasonAsked,
};
use aws::KmsKey;
use getrandom::SysRng;
use serde_json::json;

use super::commit;
use crate::{
    caller::Person,
    fault::{OrProblem, internal},
    found::AUTHORITY,
    issuer_keys::{IssuerKeys, KeyBody, Signer},
    permit::{Acting, OwnPermit},
    policies::Resource,
    server::Server,
};

/// What a deployment that makes its keys itself begins with.
const FIRST: Algorithm = Algorithm::Es256;

/// Shows the issuer and its keys.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn read(
    server: Arc<Server>,
    _: Person,
    (): (),
    (): (),
    (): (),
) -> Result<Issuer, Problem> {
    // What another replica did a moment ago is told as well.
    server.refresher.refresh().await.or_problem()?;
    Ok(told(&server))
}

/// Adds a key that will sign next.
///
/// # Errors
/// When one is waiting already, or KMS does not know the key.
pub async fn add_key(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    facts: KeyFacts,
) -> Result<Key, Problem> {
    let permit = person.may(&server, Action::ManageIssuer, &Resource::Deployment).await?;
    let algorithm = match facts.algorithm {
        WireAlgorithm::Es256 => Algorithm::Es256,
        WireAlgorithm::Rs256 => Algorithm::Rs256,
    };
    let made = match &facts.kms_key {
        Some(arn) => in_kms(&server, arn.as_str(), algorithm).await?,
        None => make(&server, algorithm).await?,
    };
    let mut act = server.act(&permit).await?;
    let mut keys = keys(&server, &mut act).await?;
    let kid = made.signer.kid().to_string();
    publish(&server, &mut act, &mut keys, made).await?;
    keys.save(&mut act).await.or_problem()?;
    commit(&server, act).await?;
    let key = keys.told().into_iter().find(|key| key.kid == kid);
    key.ok_or_else(|| internal(&"a key that was added is not there"))
}

/// Lets the next key sign.
///
/// # Errors
/// When none waits or it was published too short a time ago, unless it shall sign at once.
pub async fn rotate(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    Rotation { now, reason }: Rotation,
) -> Result<Issuer, Problem> {
    let permit = person.may(&server, Action::ManageIssuer, &Resource::Deployment).await?;
    let known = server.refresher.known();
    let active = known.ring().map(KeyRing::active);
    // Where the key that signs is in wrong hands, nobody shall have to add one first.
    let waits = known.ring().is_some_and(|ring| ring.next().is_some());
    let made = match active {
        Some(active) if now && !waits && active.key().is_some() => {
            Some(make(&server, active.algorithm()).await?)
        }
        _ => None,
    };
    let mut act = server.act(&permit).await?;
    let mut keys = keys(&server, &mut act).await?;
    if let Some(made) = made
        && keys.ring().is_some_and(|ring| ring.next().is_none())
    {
        publish(&server, &mut act, &mut keys, made).await?;
    }
    let lead = if now { Lead::Waived } else { Lead::Required };
    turn(&mut act, &mut keys, lead, Some(reason.as_str())).await?;
    keys.save(&mut act).await.or_problem()?;
    commit(&server, act).await?;
    Ok(told(&server))
}

/// Retires a key at once.
///
/// # Errors
/// When it signs: another one must sign first.
pub async fn retire(
    server: Arc<Server>,
    person: Person,
    KeyPath { kid }: KeyPath,
    ReasonAsked { reason }: ReasonAsked,
    (): (),
) -> Result<Issuer, Problem> {
    let permit = person.may(&server, Action::ManageIssuer, &Resource::Deployment).await?;
    let unknown = || Problem::not_found(format!("the issuer publishes no key `{kid}`"));
    let kid: KeyId = kid.as_str().parse().map_err(|_| unknown())?;
    let mut act = server.act(&permit).await?;
    let mut keys = keys(&server, &mut act).await?;
    let ring = keys.ring_mut().as_mut().ok_or_else(unknown)?;
    if *ring.active().kid() == kid {
        let detail = format!("key `{kid}` signs: let another one sign first, `rotate` with `now`");
        return Err(Problem::conflict(detail));
    }
    if !ring.withdraw(&kid) {
        return Err(unknown());
    }
    let detail = json!({ "reason": reason.as_str() });
    act.record("issuer-key.retired", kid.as_str(), detail).await?;
    keys.save(&mut act).await.or_problem()?;
    commit(&server, act).await?;
    Ok(told(&server))
}

/// Does what the schedule asks for, one step at a time; answers whether there was anything to do. Any
/// number of replicas may ask at once: one does it.
///
/// # Errors
/// When the database cannot be written or the system has no randomness.
pub async fn keep(server: &Server) -> Result<bool, Problem> {
    let known = server.refresher.known();
    let now = server.clock.now();
    let made = match known.ring() {
        None if server.config.issuer.make_keys => Some(make(server, FIRST).await?),
        None => return Ok(false),
        Some(ring) => match ring.due(now) {
            None => return Ok(false),
            // Who keeps their keys elsewhere does not want one of ours to take over.
            Some(Due::Publish) if ring.active().key().is_none() => return Ok(false),
            Some(Due::Publish) if !server.config.issuer.make_keys => return Ok(false),
            Some(Due::Publish) => Some(make(server, ring.active().algorithm()).await?),
            Some(Due::Rotate | Due::Prune) => None,
        },
    };
    let mut act = server.act(&OwnPermit::server()).await?;
    let mut keys = keys(server, &mut act).await?;
    let now = act.now();
    match (keys.ring().map(|ring| ring.due(now)), made) {
        (None, Some(made)) | (Some(Some(Due::Publish)), Some(made)) => {
            publish(server, &mut act, &mut keys, made).await?;
        }
        (Some(Some(Due::Rotate)), _) => turn(&mut act, &mut keys, Lead::Required, None).await?,
        (Some(Some(Due::Prune)), _) => {
            let pruned = keys.ring_mut().as_mut().map(|ring| ring.prune(now)).unwrap_or_default();
            for kid in pruned {
                act.record("issuer-key.ended", kid.as_str(), json!({})).await?;
            }
        }
        // Another replica was quicker.
        (_, _) => return Ok(false),
    }
    keys.save(&mut act).await.or_problem()?;
    commit(server, act).await?;
    Ok(true)
}

/// A key that is not in the ring yet.
struct NewKey {
    signer: Signer,
    kms_key: Option<KmsKey>,
    sealed: Option<String>,
}

/// Makes a key of the server's own. It may take seconds, so it is never done within an act.
async fn make(server: &Server, algorithm: Algorithm) -> Result<NewKey, Problem> {
    let made = move || SigningKey::generate(algorithm, &mut SysRng);
    let key = tokio::task::spawn_blocking(made).await.map_err(|error| internal(&error))?;
    let key = key.map_err(|error| internal(&error))?;
    let sealed = Some(server.refresher.opener().seal(&key).or_problem()?);
    Ok(NewKey { signer: Signer::held(key), kms_key: None, sealed })
}

/// Takes a key in KMS that is there already.
async fn in_kms(server: &Server, arn: &str, algorithm: Algorithm) -> Result<NewKey, Problem> {
    let wrong = |reason: String| {
        Problem::invalid("the key in KMS cannot be used").with_field("kms_key", reason)
    };
    let (signer, key) = server.refresher.opener().in_kms(arn).await?;
    if signer.algorithm() != algorithm {
        let is = signer.algorithm();
        return Err(wrong(format!("it signs {is}, not {algorithm}")));
    }
    Ok(NewKey { signer, kms_key: Some(key), sealed: None })
}

/// The keys as an act sees them.
async fn keys(server: &Server, act: &mut Acting) -> Result<IssuerKeys, Problem> {
    let rows = act.issuer_keys().await.or_problem()?;
    let known = server.refresher.known();
    IssuerKeys::of(&rows, server.refresher.opener(), Some(&known.keys)).or_problem()
}

/// Publishes a key that will sign next, or the first one, which signs at once.
async fn publish(
    server: &Server,
    act: &mut Acting,
    keys: &mut IssuerKeys,
    made: NewKey,
) -> Result<(), Problem> {
    let NewKey { signer, kms_key, sealed } = made;
    if sealed.is_some() {
        check_seal(server, act).await?;
    }
    let (now, kid) = (act.now(), signer.kid().clone());
    let ready = match keys.ring() {
        Some(_) => now.checked_add(KeyRing::LEAD).map_err(|error| internal(&error))?,
        None => now,
    };
    let body = match &kms_key {
        Some(key) => KeyBody::kms(key, now, ready),
        None => KeyBody::held(signer.public(), now, ready),
    };
    let detail = json!({
        "algorithm": signer.algorithm().as_str(),
        "kms_key": body.kms_key,
        "ready": ready.to_string(),
    });
    match keys.ring_mut() {
        Some(ring) => {
            ring.publish(signer, now).map_err(|error| Problem::conflict(error.to_string()))?;
        }
        none => *none = Some(KeyRing::new(signer, now)),
    }
    act.record("issuer-key.added", kid.as_str(), detail).await?;
    keys.note(&kid, body, sealed);
    Ok(())
}

/// Whether everything else is sealed under the key file that this replica has. Where another one has taken its
/// place since the replica started, nobody could open at the next start what is sealed under the old one.
async fn check_seal(server: &Server, act: &mut Acting) -> Result<(), Problem> {
    let row = act.sealed(AUTHORITY).await.or_problem()?;
    if row.is_none_or(|row| server.seal.unseal(AUTHORITY, &row.sealed).is_ok()) {
        return Ok(());
    }
    let detail = "the deployment's keys were sealed under another key file: start this server again with that one";
    Err(Problem::conflict(detail))
}

/// Lets the waiting key sign.
async fn turn(
    act: &mut Acting,
    keys: &mut IssuerKeys,
    lead: Lead,
    reason: Option<&str>,
) -> Result<(), Problem> {
    let no_keys = || Problem::conflict("the issuer has no key: add one first");
    let ring = keys.ring_mut().as_mut().ok_or_else(no_keys)?;
    let before = ring.active().kid().to_string();
    ring.rotate(act.now(), lead).map_err(|error| match error {
        RotateRefused::NoNext | RotateRefused::TooSoon { .. } => {
            Problem::new(Kind::Conflict, error.to_string())
        }
    })?;
    let kid = ring.active().kid().to_string();
    let detail = json!({
        "instead_of": before,
        "at_once": lead == Lead::Waived,
        "reason": reason,
    });
    act.record("issuer-key.rotated", &kid, detail).await.map(|_| ())
}

fn told(server: &Server) -> Issuer {
    let terms = &server.terms;
    Issuer {
        url: terms.issuer.as_str().to_owned(),
        audience: server
            .config
            .issuer
            .audience
            .as_ref()
            .map_or(AUDIENCE, Audience::as_str)
            .to_owned(),
        token_life_s: u32::try_from(terms.life.as_secs()).unwrap_or(u32::MAX),
        keys: server.refresher.known().keys.told(),
    }
}
