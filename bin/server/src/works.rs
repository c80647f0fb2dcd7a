//! What does a replica's work, and what it does by itself.

use std::{sync::Arc, time::Duration};

use api::Problem;
use aws::{Forwarder, HostCredentials, Kms, KmsSettings};
use cloud::Region;
use issuer::{KeyRing, Schedule, SigningKey};
use state::{State, StateError};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    acts,
    clock::Clock,
    config::{AwsSection, Config},
    fault::OrProblem,
    issuer_keys::Opener,
    known::Refresher,
    mint::{Mint, Minter, Terms},
    orders::OrdersDesk,
    own_keys::{self, own_key},
    report,
    seal::Seal,
    server::Server,
};

/// How often it is looked whether a position has ended.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether an issuer key's turn has come.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// How often a checkpoint of the ledger is made, if there is anything new.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often what is over is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(10 * 60);

/// How long AWS has for one answer.
const AWS_PATIENCE: Duration = Duration::from_secs(5);

/// What does the work.
#[derive(Debug)]
pub struct Works {
    /// This replica's copy of what the database says.
    pub refresher: Arc<Refresher>,
    /// Tells hosts what to do.
    pub orders: OrdersDesk,
    /// Where tokens are asked for.
    pub mint: Mint,
    /// What tokens say.
    pub terms: Terms,
    /// Signs checkpoints.
    pub ledger_key: SigningKey,
    /// Asks STS who signed a request.
    pub forwarder: Forwarder,
}

impl Works {
    /// Opens everything; the minter must be [run](Minter::run).
    ///
    /// # Errors
    /// When the database cannot be read or written, the key file does not open what is there, or the settings
    /// of the issuer cannot be.
    pub async fn open(
        config: &Config,
        state: &State,
        seal: &Arc<Seal>,
        clock: &Clock,
    ) -> Result<(Self, Minter), StateError> {
        let settings = |error: &dyn ToString| StateError::Settings { why: error.to_string() };
        let section = &config.issuer;
        let url = section.url().map_err(|error| settings(&error))?;
        let every = Duration::from_secs(section.rotate_days.get() * 24 * 60 * 60);
        // One day is the shortest that is allowed, and just as long as a key is published before it signs.
        let every = every.max(KeyRing::LEAD + Duration::from_secs(60 * 60));
        let schedule = Schedule::new(Some(every), KeyRing::LEAD, KeyRing::RETENTION);
        let schedule = schedule.map_err(|error| settings(&error))?;
        let orders = own_key(state, seal, clock, own_keys::ORDERS).await?;
        let ledger_key = own_key(state, seal, clock, own_keys::LEDGER).await?;
        let kms = match &config.aws.region {
            Some(region) => Some(Kms::new(&kms_settings(region, &config.aws)).await),
            None => None,
        };
        let opener = Opener { seal: Arc::clone(seal), kms, schedule };
        let forwarder = Forwarder::new(config.aws.endpoint.clone(), AWS_PATIENCE);
        let refresher = Arc::new(Refresher::open(state.clone(), opener, url.clone()).await?);
        let life = Duration::from_secs(section.token_life_s.get());
        let terms = Terms { issuer: url, life };
        let (mint, minter) =
            Mint::new(state.clone(), Arc::clone(&refresher), terms.clone(), clock.clone());
        let orders = OrdersDesk::new(orders);
        Ok((Self { refresher, orders, mint, terms, ledger_key, forwarder }, minter))
    }
}

/// Makes the issuer's first key, where the server makes its keys itself: before anybody asks for a token.
///
/// # Errors
/// When the database cannot be written or the system has no randomness.
pub async fn first_key(server: &Server) -> Result<(), Problem> {
    if server.refresher.known().ring().is_none() {
        acts::issuer::keep(server).await?;
    }
    Ok(())
}

/// What a replica does by itself until it stops: it looks for news, ends positions, changes keys, signs where
/// the ledger stands, and forgets what is over.
pub async fn chores(server: Arc<Server>) {
    let looking = Arc::clone(&server.refresher);
    // Each chore holds the server itself, so that it can run on any thread.
    let held = || Arc::clone(&server);
    tokio::select! {
        () = looking.run(report) => {}
        () = forget_told(&server) => {}
        () = every(EXPIRE_EVERY, "a position that ended", held(), expire) => {}
        () = every(KEEP_EVERY, "the issuer's keys", held(), keep) => {}
        () = every(CHECKPOINT_EVERY, "a checkpoint", held(), checkpoint) => {}
        () = every(PRUNE_EVERY, "what is over", held(), prune) => {}
        () = server.stopping() => {}
    }
    if let Err(problem) = acts::ledger::checkpoint_by_itself(&server).await {
        report(&format!("no checkpoint was made at the stop: {problem}"));
    }
}

/// Does a chore again and again; what goes wrong is reported once until it works again.
async fn every<F>(
    pause: Duration,
    what: &str,
    server: Arc<Server>,
    chore: impl Fn(Arc<Server>) -> F,
) where
    F: Future<Output = Result<(), Problem>>,
{
    let mut ticks = interval_at(Instant::now() + pause, pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        match chore(Arc::clone(&server)).await {
            Ok(()) => failing = false,
            Err(problem) => {
                if !failing {
                    report(&format!("{what}: it could not be written down: {problem}"));
                }
                failing = true;
            }
        }
    }
}

async fn expire(server: Arc<Server>) -> Result<(), Problem> {
    acts::switch::expire(&server).await.map(drop)
}

async fn keep(server: Arc<Server>) -> Result<(), Problem> {
    acts::issuer::keep(&server).await.map(drop)
}

async fn checkpoint(server: Arc<Server>) -> Result<(), Problem> {
    acts::ledger::checkpoint_by_itself(&server).await.map(drop)
}

async fn prune(server: Arc<Server>) -> Result<(), Problem> {
    server.state.prune(server.clock.now()).await.or_problem().map(drop)
}

/// Forgets what revoked hosts were told.
async fn forget_told(server: &Server) {
    let mut watch = server.refresher.watch();
    while watch.changed().await.is_ok() {
        let known = Arc::clone(&watch.borrow_and_update());
        server.orders.keep_only(&known.knowledge);
    }
}

fn kms_settings(region: &Region, section: &AwsSection) -> KmsSettings {
    KmsSettings {
        region: region.clone(),
        endpoint: section.endpoint.clone(),
        timeout: AWS_PATIENCE,
        credentials: HostCredentials::DefaultChain { metadata_endpoint: None },
    }
}
