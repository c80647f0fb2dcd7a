//! From an endpoint's type to the code that answers it.
//!
//! INVARIANT (NobodyUnasked): who asks is known before a body is read and before a handler runs. Which way
//! of asking belongs to an endpoint is its type's, and is checked when compiling.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use api::{Access, Action, Described, Endpoint, Form, Kind, Problem};
use http::{Method, Request, header::CONTENT_TYPE};
use hyper::body::Incoming;

use super::{
    Connection,
    body::{self, Browser, Reply},
    log::Entry,
};
use crate::{
    caller::{Anybody, Host, Person},
    permit::Permit,
    policies::Resource,
    random,
    server::Server,
};

/// Code that answers an endpoint: `async fn(Arc<Server>, C, E::Path, E::Query, E::Body) -> Result<A, Problem>`.
pub trait Handler<E: Endpoint, C, A>: Send + Sync + 'static {
    /// Answers.
    fn call(
        &self,
        server: Arc<Server>,
        caller: C,
        path: E::Path,
        query: E::Query,
        body: E::Body,
    ) -> impl Future<Output = Result<A, Problem>> + Send;
}

impl<E, C, A, F, T> Handler<E, C, A> for F
where
    E: Endpoint,
    F: Fn(Arc<Server>, C, E::Path, E::Query, E::Body) -> T + Send + Sync + 'static,
    T: Future<Output = Result<A, Problem>> + Send,
{
    fn call(
        &self,
        server: Arc<Server>,
        caller: C,
        path: E::Path,
        query: E::Query,
        body: E::Body,
    ) -> impl Future<Output = Result<A, Problem>> + Send {
        self(server, caller, path, query, body)
    }
}

/// A request, and what is known of where it comes from.
struct Asked {
    server: Arc<Server>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
}

/// What became of a request: who asked, as far as that was found out, and the answer.
struct Outcome {
    caller: Option<String>,
    answer: Result<Reply, Problem>,
}

type Answering = Pin<Box<dyn Future<Output = Outcome> + Send>>;

struct Route {
    method: Method,
    name: &'static str,
    form: Form,
    run: Box<dyn Fn(Asked) -> Answering + Send + Sync>,
}

/// Collects the endpoints that are answered.
#[derive(Default)]
pub struct Routes {
    paths: BTreeMap<&'static str, Vec<Route>>,
    twice: Vec<&'static str>,
}

/// Some endpoints are answered by nobody, or by two. A mistake of the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "endpoints without a handler: {missing:?}; with two: {twice:?}; whose path collides: {collide:?}"
)]
pub struct Unrouted {
    /// Which have none.
    pub missing: Vec<&'static str>,
    /// Which have two.
    pub twice: Vec<&'static str>,
    /// Which cannot be told apart from others.
    pub collide: Vec<String>,
}

/// Every endpoint and what answers it.
pub struct Table {
    paths: matchit::Router<Vec<Route>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Table")
    }
}

impl Routes {
    /// Answers an endpoint that is open to everybody who reaches the server.
    #[must_use]
    pub fn open<E: Endpoint>(self, handler: impl Handler<E, Anybody, E::Answer>) -> Self {
        const { assert!(matches!(E::ACCESS, Access::Open)) };
        let handler = Arc::new(handler);
        self.route::<E>(move |asked| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let answer = match anybody(&asked) {
                    Ok(caller) => run::<E, _, _>(&*handler, asked, caller).await,
                    Err(problem) => Err(problem),
                };
                Outcome { caller: None, answer: answer.and_then(|answer| body::json(&answer)) }
            })
        })
    }

    /// Answers an endpoint that a person's browser opens, signed in or not.
    #[must_use]
    pub fn browser<E: Endpoint<Answer = ()>>(
        self,
        handler: impl Handler<E, Anybody, Browser>,
    ) -> Self {
        const { assert!(matches!(E::ACCESS, Access::Open) && matches!(E::FORM, Form::Browser)) };
        let handler = Arc::new(handler);
        self.route::<E>(move |asked| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let answer = match anybody(&asked) {
                    Ok(caller) => run::<E, _, _>(&*handler, asked, caller).await,
                    Err(problem) => Err(problem),
                };
                Outcome { caller: None, answer: answer.and_then(|answer| body::browser(&answer)) }
            })
        })
    }

    /// Answers an endpoint of hosts.
    #[must_use]
    pub fn agent<E: Endpoint>(self, handler: impl Handler<E, Host, E::Answer>) -> Self {
        const { assert!(matches!(E::ACCESS, Access::Agent)) };
        let handler = Arc::new(handler);
        self.route::<E>(move |asked| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let host = match Host::of(&asked.server, &asked.connection).await {
                    Ok(host) => host,
                    Err(problem) => return Outcome { caller: None, answer: Err(problem) },
                };
                let caller = Some(host.actor());
                let answer = run::<E, _, _>(&*handler, asked, host).await;
                Outcome { caller, answer: answer.and_then(|answer| body::json(&answer)) }
            })
        })
    }

    /// Answers an endpoint of people. Where the endpoint is about looking, this asks the policies; where it
    /// is about anything else, the handler does, because it knows to what: without a [`Permit`] there is
    /// no act.
    #[must_use]
    pub fn person<E: Endpoint>(self, handler: impl Handler<E, Person, E::Answer>) -> Self {
        const { assert!(matches!(E::ACCESS, Access::Person(_))) };
        let handler = Arc::new(handler);
        self.route::<E>(move |asked| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let person = match Person::of(
                    &asked.server,
                    &asked.connection,
                    asked.request.method(),
                    asked.request.headers(),
                )
                .await
                {
                    Ok(person) => person,
                    Err(problem) => return Outcome { caller: None, answer: Err(problem) },
                };
                let caller = Some(person.actor());
                let looks = matches!(E::ACCESS, Access::Person(Action::View));
                let may = match looks {
                    true => person
                        .may(&asked.server, Action::View, &Resource::Deployment)
                        .await
                        .map(Permit::seen),
                    false => Ok(()),
                };
                let answer = match may {
                    Ok(()) => run::<E, _, _>(&*handler, asked, person).await,
                    Err(problem) => Err(problem),
                };
                Outcome { caller, answer: answer.and_then(|answer| body::json(&answer)) }
            })
        })
    }

    fn route<E: Endpoint>(
        mut self,
        run: impl Fn(Asked) -> Answering + Send + Sync + 'static,
    ) -> Self {
        let routes = self.paths.entry(E::PATH).or_default();
        if routes.iter().any(|route| route.method == E::METHOD) {
            self.twice.push(E::NAME);
        }
        let run = Box::new(run);
        routes.push(Route { method: E::METHOD, name: E::NAME, form: E::FORM, run });
        self
    }

    /// The names of the endpoints that nobody answers yet.
    pub fn missing(&self) -> Vec<&'static str> {
        let answered = |wanted: &&Described| {
            let routes = self.paths.get(wanted.path).map(Vec::as_slice).unwrap_or_default();
            !routes.iter().any(|route| route.name == wanted.name)
        };
        api::ENDPOINTS.iter().filter(answered).map(|described| described.name).collect()
    }

    /// The table, if every endpoint is answered exactly once.
    ///
    /// # Errors
    /// When one is not.
    pub fn table(self) -> Result<Table, Unrouted> {
        let missing = self.missing();
        let mut paths = matchit::Router::new();
        let mut collide = Vec::new();
        for (path, routes) in self.paths {
            if let Err(error) = paths.insert(path, routes) {
                collide.push(format!("{path}: {error}"));
            }
        }
        if missing.is_empty() && self.twice.is_empty() && collide.is_empty() {
            return Ok(Table { paths });
        }
        Err(Unrouted { missing, twice: self.twice, collide })
    }
}

impl Table {
    /// Answers one request, whatever it is, and records it.
    pub(super) async fn answer(
        &self,
        server: Arc<Server>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Reply {
        let began = Instant::now();
        // An id that cannot be drawn is no reason to refuse.
        let id = random::id("r-").unwrap_or_else(|_| "r-none".to_owned());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let peer = connection.peer;
        let (log, clock) = (server.log.clone(), server.clock.clone());
        let (route, outcome) = match self.find(&method, &path) {
            Ok(route) => {
                (Some(route), caught((route.run)(Asked { server, connection, request })).await)
            }
            Err(problem) => (None, Outcome { caller: None, answer: Err(problem) }),
        };
        let form = route.map_or(Form::Json, |route| route.form);
        let (mut reply, kind) = match outcome.answer {
            Ok(reply) => (reply, None),
            Err(problem) => {
                let (retry, problem) = (problem.retry_after(), problem.with_instance(&id));
                let kind = problem.kind;
                let reply = match form {
                    Form::Browser => body::page(&problem, retry),
                    Form::Json => body::problem(&problem, retry),
                };
                (reply, Some(kind.slug()))
            }
        };
        if let Ok(mut id) = http::HeaderValue::from_str(&id) {
            // Not because it is secret: it never comes again, so HTTP/2 need not remember it.
            id.set_sensitive(true);
            reply.headers_mut().insert("x-request-id", id);
        }
        log.record(&Entry {
            time: clock.now().to_string(),
            request: &id,
            peer: peer.to_string(),
            caller: outcome.caller.as_deref(),
            method: method.as_str(),
            endpoint: route.map(|route| route.name),
            path: &path,
            status: reply.status().as_u16(),
            problem: kind,
            took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        reply
    }

    fn find(&self, method: &Method, path: &str) -> Result<&Route, Problem> {
        let found = self.paths.at(path).map_err(|_| {
            Problem::not_found("there is no such path; `/v1/health` is one that there is")
        })?;
        let wanted = found.value.iter().find(|route| route.method == *method);
        wanted.ok_or_else(|| {
            let known: Vec<&str> = found.value.iter().map(|route| route.method.as_str()).collect();
            let detail = format!("`{method}` is none of {}", known.join(", "));
            Problem::new(Kind::WrongMethod, detail)
        })
    }
}

/// After how many seconds a problem is worth another try, where it says so.
trait RetryAfter {
    fn retry_after(&self) -> Option<u64>;
}

impl RetryAfter for Problem {
    fn retry_after(&self) -> Option<u64> {
        self.fields.get(RETRY_AFTER_S).and_then(|seconds| seconds.parse().ok())
    }
}

/// The field in which a refusal for haste says how long to wait.
const RETRY_AFTER_S: &str = "retry_after_s";

/// Lets everybody in who does not ask too often. A look at the health is none: it is what tells
/// whether the server can be asked at all.
fn anybody(asked: &Asked) -> Result<Anybody, Problem> {
    let address: IpAddr = asked.connection.peer.ip();
    if asked.request.uri().path() != <api::health::ReadHealth as Endpoint>::PATH {
        not_too_often(&asked.server, address)?;
    }
    let cookies = asked.request.headers().get_all(http::header::COOKIE);
    let cookies =
        cookies.iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    Ok(Anybody { address, cookies })
}

/// Takes one of the requests that an address may make before it is known who asks.
pub(crate) fn not_too_often(server: &Server, address: IpAddr) -> Result<(), Problem> {
    server.rate.take(address, Instant::now()).map_err(|wait| {
        let seconds = wait.as_secs() + 1;
        Problem::new(Kind::RateLimited, format!("`{address}` asks too often"))
            .with_field(RETRY_AFTER_S, seconds.to_string())
    })
}

/// Reads the request as the endpoint says, and has it answered.
async fn run<E: Endpoint, C, A>(
    handler: &impl Handler<E, C, A>,
    asked: Asked,
    caller: C,
) -> Result<A, Problem> {
    let Asked { server, request, .. } = asked;
    let (parts, incoming) = request.into_parts();
    let path = E::read_path(parts.uri.path())?;
    let query = E::read_query(parts.uri.query())?;
    let limit = Duration::from_secs(server.config.limits.body_s.get());
    let bytes = body::read(incoming, E::BODY_MAX, limit).await?;
    if !bytes.is_empty() && !is_json(parts.headers.get(CONTENT_TYPE)) {
        return Err(Problem::new(Kind::WrongMediaType, "send `content-type: application/json`"));
    }
    let body = E::read_body(&bytes)?;
    drop(bytes);
    handler.call(server, caller, path, query, body).await
}

fn is_json(header: Option<&http::HeaderValue>) -> bool {
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Where the code panics, its request alone fails.
async fn caught(mut answering: Answering) -> Outcome {
    let polled = std::future::poll_fn(|context| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    });
    polled.await.unwrap_or_else(|| {
        let problem = Problem::new(Kind::Internal, "the server's code gave up on this request");
        Outcome { caller: None, answer: Err(problem) }
    })
}
