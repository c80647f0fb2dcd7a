//! The host's own metadata, for allow-listed paths: asked once, then kept for a moment.
//!
//! EC2 lets a host send 1,024 packets a second in all to link-local addresses: DNS, time and the host's
//! own credentials included. So answers are kept, equal questions are asked once, and no more than
//! [`RATE`] a second are asked at all, whatever a workload asks for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use aws::{HostAnswer, HostMetadata};
use jiff::Timestamp;
use metadata::{Answer, Body, HostPath};
use secret::SecretBytes;
use serde::Deserialize;
use tokio::sync::{OnceCell, Semaphore};

/// How many questions the host is asked a second. As many may come at once after a quiet second.
pub const RATE: u32 = 20;
/// How many questions are asked at once.
pub const ASKED_MAX: usize = 4;
/// How long an answer of the host is repeated.
const KEPT: Duration = Duration::from_secs(30);
/// How many answers are kept at the most: all that the rate allows, so that paths that do not exist
/// cannot crowd out those that do.
const KEPT_MAX: usize = 700;
const _: () = assert!(KEPT_MAX as u64 > (KEPT.as_secs() + 2) * RATE as u64);
/// How many bytes of answers are kept at the most.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The host's own metadata service, or none.
#[derive(Debug)]
pub struct Host {
    service: Option<HostMetadata>,
    asking: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shelf: Shelf,
    bucket: Bucket,
    /// The questions that somebody waits for.
    questions: BTreeMap<HostPath, Weak<Question>>,
}

/// A question to the host; its answer is `None` where it did not answer or was not asked.
type Question = OnceCell<Option<Kept>>;

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
        Self { service, asking: Semaphore::new(ASKED_MAX), state: Mutex::default() }
    }

    /// The host's answer for a path that the allow-list names. 404 where there is no host to ask,
    /// 503 where it does not answer or must not be asked now.
    pub async fn answer(&self, path: &HostPath, token_ttl_left: Option<u16>) -> Answer {
        let Some(service) = &self.service else { return status(404, token_ttl_left) };
        let question = match self.kept(path) {
            Ok(kept) => return kept.answer(token_ttl_left),
            Err(question) => question,
        };
        // If the client that asks hangs up, another one that waits asks in its place.
        match question.get_or_init(|| self.ask(service, path)).await {
            Some(kept) => kept.clone().answer(token_ttl_left),
            None => Self::silent(token_ttl_left),
        }
    }

    /// The answer of a host that does not answer.
    pub fn silent(token_ttl_left: Option<u16>) -> Answer {
        status(503, token_ttl_left)
    }

    /// The answer that is kept, or else the question, which others may wait for already.
    fn kept(&self, path: &HostPath) -> Result<Kept, Arc<Question>> {
        let mut state = self.state();
        if let Some(kept) = state.shelf.get(path.as_str(), Instant::now()) {
            return Ok(kept);
        }
        if let Some(question) = state.questions.get(path).and_then(Weak::upgrade) {
            return Err(question);
        }
        let question = Arc::<Question>::default();
        state.questions.retain(|_, question| question.strong_count() > 0);
        state.questions.insert(path.clone(), Arc::downgrade(&question));
        Err(question)
    }

    async fn ask(&self, service: &HostMetadata, path: &HostPath) -> Option<Kept> {
        let _asking = self.asking.try_acquire().ok()?;
        if !self.state().bucket.take(Instant::now()) {
            return None;
        }
        let HostAnswer { status, content_type, body } = service.get(path.as_str()).await.ok()?;
        // Nobody is told what the host says in place of what it does not have.
        let body = if status == 404 { Vec::new() } else { body.into() };
        let kept = Kept { status, content_type, body: Arc::new(SecretBytes::new(body)) };
        if keeps(path) && ((200..300).contains(&status) || status == 404) {
            self.state().shelf.put(path.as_str(), kept.clone(), Instant::now());
        }
        Some(kept)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn answer(self, token_ttl_left: Option<u16>) -> Answer {
        let content_type = self.content_type.as_deref();
        metadata::answer_host(self.status, content_type, self.body, token_ttl_left)
    }
}

/// Answers that are repeated.
#[derive(Debug, Default)]
struct Shelf(BTreeMap<String, (Instant, Kept)>);

impl Shelf {
    fn get(&self, path: &str, now: Instant) -> Option<Kept> {
        let (at, kept) = self.0.get(path)?;
        is_fresh(*at, now).then(|| kept.clone())
    }

    fn put(&mut self, path: &str, kept: Kept, now: Instant) {
        self.0.retain(|_, (at, _)| is_fresh(*at, now));
        let length = |kept: &Kept| kept.body.expose().len();
        let bytes: usize = self.0.values().map(|(_, kept)| length(kept)).sum();
        if self.0.len() < KEPT_MAX && bytes + length(&kept) <= KEPT_BYTES_MAX {
            self.0.insert(path.to_owned(), (now, kept));
        }
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < KEPT
}

/// What may still be asked: each question costs its part of a second, and one second can be saved.
#[derive(Debug, Default)]
struct Bucket {
    /// Until when the questions so far have used up the time.
    used: Option<Instant>,
}

impl Bucket {
    const SAVED: Duration = Duration::from_secs(1);

    fn take(&mut self, now: Instant) -> bool {
        let used = self.used.map_or(now, |used| used.max(now)) + Self::SAVED / RATE;
        let may = used <= now + Self::SAVED;
        if may {
            self.used = Some(used);
        }
        may
    }
}

/// Where an instance's role has its credentials, up to the role's name.
const CREDENTIALS: &str = "/meta-data/iam/security-credentials/";
/// The longest answer that is looked at for the end of credentials.
const CREDENTIALS_MAX: usize = 64 * 1024;

/// Whether the host's own credentials are asked for.
pub fn gives_credentials(path: &HostPath) -> bool {
    let role = path.as_str().split_once(CREDENTIALS).map(|(_, role)| role);
    role.is_some_and(|role| !role.is_empty())
}

/// When the host's own credentials end that an answer carries; `None` where it does not say so in the
/// words of AWS.
pub fn end_of_credentials(answer: &Answer) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(rename = "Expiration")]
        expiration: String,
    }
    let Body::Secret(body) = &answer.body else { return None };
    let bytes = Some(body.expose()).filter(|bytes| bytes.len() <= CREDENTIALS_MAX)?;
    serde_json::from_slice::<Part>(bytes).ok()?.expiration.parse().ok()
}

/// The host's own credentials change and must not outlive their renewal here.
fn keeps(path: &HostPath) -> bool {
    !path.as_str().contains("/iam") && !path.as_str().contains("/identity-credentials")
}

fn status(status: u16, token_ttl_left: Option<u16>) -> Answer {
    let empty = Arc::new(SecretBytes::new(Vec::new()));
    metadata::answer_host(status, None, empty, token_ttl_left)
}

#[cfg(test)]
mod tests {
    use metadata::{AllowList, Door, Facts, Request, Step, Subject, TokenKey, decide};
    use secret::SecretKey;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
        task::JoinSet,
    };

    use super::*;

    /// How many questions of a crowd are asked at a moment, in seconds since the first.
    #[track_caller]
    fn check(bucket: &mut Bucket, start: Instant, seconds: f64, expected: usize) {
        let now = start + Duration::from_secs_f64(seconds);
        let asked = (0..1000).filter(|_| bucket.take(now)).count();
        assert_eq!(asked, expected, "at {seconds}");
    }

    #[test]
    fn twenty_questions_a_second_are_asked_and_no_more() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        check(&mut bucket, start, 0.0, 20);
        check(&mut bucket, start, 0.04, 0);
        check(&mut bucket, start, 0.05, 1);
        check(&mut bucket, start, 0.5, 9);
        check(&mut bucket, start, 1.5, 20);
        // A long silence saves no more than a second.
        check(&mut bucket, start, 3600.0, 20);
        // A clock that stands still or goes back gives nothing.
        check(&mut bucket, start, 3600.0, 0);
        check(&mut bucket, start, 1.0, 0);
    }

    fn kept(status: u16, length: usize) -> Kept {
        let body = Arc::new(SecretBytes::new(vec![b'x'; length]));
        Kept { status, content_type: None, body }
    }

    #[test]
    fn paths_that_do_not_exist_do_not_crowd_out_those_that_do() {
        let (mut shelf, mut bucket) = (Shelf::default(), Bucket::default());
        let start = Instant::now();
        // A workload asks for new paths as fast as it can, for longer than answers are kept.
        for tick in 0..60_000_u64 {
            let now = start + Duration::from_millis(tick);
            if bucket.take(now) {
                shelf.put(&format!("/latest/meta-data/placement/{tick}"), kept(404, 0), now);
            }
        }
        let now = start + Duration::from_secs(60);
        shelf.put("/latest/meta-data/ami-id", kept(200, 21), now);
        assert_eq!(shelf.get("/latest/meta-data/ami-id", now).unwrap().status, 200);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_in_time() {
        const LENGTH: usize = 256 * 1024;
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        for number in 0..100 {
            shelf.put(&number.to_string(), kept(200, LENGTH), now);
        }
        assert_eq!(shelf.0.len(), KEPT_BYTES_MAX / LENGTH);
        assert!(shelf.get("0", now + KEPT).is_none());
        shelf.put("0", kept(200, LENGTH), now + KEPT);
        assert_eq!(shelf.0.len(), 1);
    }

    fn path(name: &str) -> HostPath {
        allowed(&format!("meta-data/placement/{name}"))
    }

    fn allowed(rest: &str) -> HostPath {
        let allow = AllowList::parse(["meta-data/**", "meta-data/iam/**"]).unwrap();
        let facts = Facts::default();
        let subject = Subject { workload: "w", role: None, v1: true, facts: &facts, allow: &allow };
        let key = TokenKey::new(&SecretKey::new([7; 32]), [1; 16]);
        let target = format!("/latest/{rest}");
        let request = Request::new("GET", &target, []);
        let decision = decide(Door::Instance, &request, &subject, &key, Duration::ZERO, [0; 16]);
        match decision.step {
            Step::Host(path) => path,
            other => panic!("{other:?}"),
        }
    }

    /// A service that answers no question before `gate` lets it, and what it was asked.
    async fn service(gate: Arc<Semaphore>) -> (Arc<Host>, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Host::new(Some(&format!("http://{}", listener.local_addr().unwrap())), None);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (gate, list) = (Arc::clone(&gate), Arc::clone(&list));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        stream.read_line(&mut head).await.unwrap();
                    }
                    if head.starts_with("GET ") {
                        let path = head.split(' ').nth(1).unwrap().to_owned();
                        list.lock().unwrap().push(path);
                        gate.acquire().await.unwrap().forget();
                    }
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\
                        Connection: close\r\n\r\nhere";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        (Arc::new(host), asked)
    }

    fn asks(asking: &mut JoinSet<u16>, host: &Arc<Host>, name: &str) {
        let (host, path) = (Arc::clone(host), path(name));
        asking.spawn(async move { host.answer(&path, None).await.status });
    }

    #[track_caller]
    fn check_end(body: &str, expected: Option<&str>) {
        let body = Arc::new(SecretBytes::new(body.as_bytes().to_vec()));
        let end = end_of_credentials(&metadata::answer_host(200, None, body, None));
        assert_eq!(end.map(|end| end.to_string()).as_deref(), expected);
    }

    #[test]
    fn the_end_of_the_hosts_own_credentials_is_read_where_it_is_told() {
        let told =
            r#"{"Code":"Success","SecretAccessKey":"s","Expiration":"2026-01-02T03:04:05Z"}"#;
        check_end(told, Some("2026-01-02T03:04:05Z"));
        check_end(r#"{"Expiration":"soon"}"#, None);
        check_end(r#"{"Code":"Success"}"#, None);
        check_end("host-role", None);
        check_end(&format!("{told}{}", " ".repeat(CREDENTIALS_MAX)), None);
    }

    #[test]
    fn only_the_path_of_a_role_gives_credentials() {
        assert!(gives_credentials(&allowed("meta-data/iam/security-credentials/host-role")));
        assert!(!gives_credentials(&allowed("meta-data/iam/security-credentials")));
        assert!(!gives_credentials(&allowed("meta-data/iam/info")));
    }

    #[tokio::test]
    async fn equal_questions_are_asked_once() {
        let gate = Arc::new(Semaphore::new(0));
        let (host, asked) = service(Arc::clone(&gate)).await;
        let mut asking = JoinSet::new();
        for _ in 0..50 {
            asks(&mut asking, &host, "region");
        }
        gate.add_permits(1);
        assert_eq!(asking.join_all().await, [200; 50]);
        assert_eq!(*asked.lock().unwrap(), ["/latest/meta-data/placement/region"]);
        let waiting = host.state().questions.values().filter(|it| it.strong_count() > 0).count();
        assert_eq!(waiting, 0);
    }

    #[tokio::test]
    async fn more_than_four_questions_at_once_are_not_asked() {
        let gate = Arc::new(Semaphore::new(0));
        let (host, asked) = service(Arc::clone(&gate)).await;
        let mut asking = JoinSet::new();
        for number in 0..10 {
            asks(&mut asking, &host, &number.to_string());
        }
        // The others need not wait for the host to know that they were not asked.
        for _ in ASKED_MAX..10 {
            assert_eq!(asking.join_next().await.unwrap().unwrap(), 503);
        }
        gate.add_permits(ASKED_MAX);
        assert_eq!(asking.join_all().await, [200; ASKED_MAX]);
        assert_eq!(asked.lock().unwrap().len(), ASKED_MAX);
        // Those that were asked are kept, and there is room for others.
        gate.add_permits(1);
        let mut asking = JoinSet::new();
        asks(&mut asking, &host, "9");
        asks(&mut asking, &host, "0");
        assert_eq!(asking.join_all().await, [200; 2]);
    }
}
