//! The file read again: all of it is put in force, or nothing.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use disk::{DiskError, Folder};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    clock,
    config::{Config, ConfigError},
    control::Obeyed,
    fetch::Fetcher,
    settings::{Settings, Standing, Started},
};

/// Reads the agent's file again.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    folder: Folder,
    fetcher: Arc<Fetcher>,
    /// What the agent was started with: what only a start can change is so to this day.
    start: Arc<Settings>,
    /// Held while the file is read and put in force, so that an older one cannot win.
    turn: Mutex<()>,
}

/// What a reload put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Counts the files that were in force.
    pub generation: u64,
    /// How many bindings there are.
    pub bindings: usize,
    /// The sections that differ from those of the start, and that only a start puts in force.
    pub needs_restart: Vec<&'static str>,
}

/// The old file stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new file is wrong, or needs what the agent was not started with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The issuer's keys cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The issuer's keys are gone. New ones are made by a start alone: no cloud knows them.
    #[error("the issuer's keys are gone from `{}`: put them back", .0.display())]
    NoKeys(PathBuf),
}

impl Reloader {
    /// For the agent that was started with the file at `path` and keeps its keys in `folder`.
    pub fn new(path: PathBuf, folder: Folder, fetcher: Arc<Fetcher>) -> Self {
        let start = fetcher.engine.settings();
        Self { path, folder, fetcher, start, turn: Mutex::default() }
    }

    /// Reads the file again. Connections and leases go on; what only a start can change is named.
    ///
    /// # Errors
    /// When the file or the keys cannot be used. Nothing has changed then.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (fetcher, engine) = (&self.fetcher, &self.fetcher.engine);
        let generation = engine.settings().generation + 1;
        let started = Started {
            issuer: fetcher.signer.is_some(),
            docker: self.start.config.docker.is_some(),
        };
        let settings = Settings::reread(&self.path, generation, started)?;
        if let (Some(signer), Some(_)) = (&fetcher.signer, &settings.config.issuer) {
            let ring = self.folder.existing_issuer_keys()?;
            let ring = ring.ok_or_else(|| ReloadError::NoKeys(self.folder.path().to_owned()))?;
            *signer.keys.write().unwrap_or_else(PoisonError::into_inner) = ring;
        }
        // Orders are not the file's: they stay.
        let settings = match &engine.settings().standing {
            Some(Standing { orders, at }) => settings.obeying(orders, *at, generation),
            None => settings,
        };
        let bindings = settings.bindings();
        let needs_restart = needs_restart(&self.start.config, &settings.config);
        engine.reload(clock::now(), settings);
        fetcher.nudge.notify_one();
        Ok(Reloaded { generation, bindings, needs_restart })
    }

    /// Puts orders of the server in force, as they stand at a time, with the file that is in force.
    pub fn obey(&self, orders: &Arc<Obeyed>, at: Timestamp) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = &self.fetcher.engine;
        let old = engine.settings();
        engine.reload(clock::now(), old.obeying(orders, at, old.generation + 1));
        self.fetcher.nudge.notify_one();
    }
}

impl Reloaded {
    /// For the operator who sent a signal and waits for no answer.
    pub fn words(&self) -> String {
        let read = "the file was read again and is in force";
        match self.needs_restart.as_slice() {
            [] => read.to_owned(),
            sections => {
                format!("{read}, but what changed in {} needs a restart", sections.join(", "))
            }
        }
    }
}

/// The sections that differ and that only a start puts in force.
fn needs_restart(start: &Config, new: &Config) -> Vec<&'static str> {
    let issuer = |config: &Config| {
        config.issuer.as_ref().map(|section| (section.url.get_ref().clone(), section.allow_http))
    };
    let server =
        |config: &Config| config.server.as_ref().map(|section| section.get_ref().addresses.clone());
    [
        ("data", start.data != new.data),
        ("region", start.region != new.region),
        ("metadata", start.metadata.sockets() != new.metadata.sockets()),
        ("host.metadata", start.host.metadata != new.host.metadata),
        ("sts", start.sts != new.sts),
        ("issuer", issuer(start) != issuer(new)),
        ("server", server(start) != server(new)),
        ("log", start.log != new.log),
        ("admin", start.admin != new.admin),
        ("calls", start.calls != new.calls),
        ("docker", start.docker != new.docker),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}
