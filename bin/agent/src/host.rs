//! The host's own metadata, for allow-listed paths: asked once, then kept for a moment.
//!
//! EC2 lets a host ask 1,024 times a second in all, DNS and time included. So answers are kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws::{HostAnswer, HostMetadata};
use metadata::{Answer, HostPath};
use secret::SecretBytes;

/// How long an answer of the host is repeated.
const KEPT: Duration = Duration::from_secs(30);
/// How many answers are kept at the most.
const KEPT_MAX: usize = 256;

/// The host's own metadata service, or none.
#[derive(Debug)]
pub struct Host {
    service: Option<HostMetadata>,
    kept: Mutex<BTreeMap<HostPath, (Instant, Kept)>>,
}

#[derive(Clone, Debug)]
struct Kept {
    status: u16,
    content_type: Option<String>,
    /// Whatever the operator allows may be a secret: it is kept like one.
    body: Arc<SecretBytes>,
}

impl Host {
    /// The service at `endpoint`, asked from sockets with `mark`.
    pub fn new(endpoint: Option<&str>, mark: Option<u32>) -> Self {
        let service = endpoint.map(|endpoint| HostMetadata::new(endpoint, mark));
        Self { service, kept: Mutex::default() }
    }

    /// The host's answer for a path that the allow-list names. 404 where there is no host to ask,
    /// 503 where it does not answer.
    pub async fn answer(&self, path: &HostPath, token_ttl_left: Option<u16>) -> Answer {
        let kept = match (self.kept(path), &self.service) {
            (Some(kept), _) => kept,
            (None, None) => return status(404, token_ttl_left),
            (None, Some(service)) => match service.get(path.as_str()).await {
                Ok(answer) => self.keep(path, answer),
                Err(_) => return Self::silent(token_ttl_left),
            },
        };
        let content_type = kept.content_type.as_deref();
        metadata::answer_host(kept.status, content_type, kept.body, token_ttl_left)
    }

    /// The answer of a host that does not answer.
    pub fn silent(token_ttl_left: Option<u16>) -> Answer {
        status(503, token_ttl_left)
    }

    fn kept(&self, path: &HostPath) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(path).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, kept)| kept.clone())
    }

    fn keep(&self, path: &HostPath, answer: HostAnswer) -> Kept {
        let HostAnswer { status, content_type, body } = answer;
        let body = Arc::new(SecretBytes::new(body.into()));
        let fresh = Kept { status, content_type, body };
        if keeps(path) && ((200..300).contains(&status) || status == 404) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|_, (at, _)| at.elapsed() < KEPT);
            if kept.len() < KEPT_MAX {
                kept.insert(path.clone(), (Instant::now(), fresh.clone()));
            }
        }
        fresh
    }
}

/// The host's own credentials change and must not outlive their renewal here.
fn keeps(path: &HostPath) -> bool {
    !path.as_str().contains("/iam") && !path.as_str().contains("/identity-credentials")
}

fn status(status: u16, token_ttl_left: Option<u16>) -> Answer {
    let empty = Arc::new(SecretBytes::new(Vec::new()));
    metadata::answer_host(status, None, empty, token_ttl_left)
}
