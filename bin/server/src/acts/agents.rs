//! What hosts ask: to join, what to do, and for tokens. And what they report.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api::{
    Kind, Label, Problem,
    agents::{
        JoinAwsRequest, JoinRequest, Joined, Minted, Nonce, OrdersAsked, Received, RenewRequest,
        Report, SignedRequest, TokenRequest,
    },
    hosts::JoinedBy,
    orders::SignedOrders,
};
use aws::{AskError, ForwardError};
use cloud::{AccountId, Region};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use state::{HostRow, JoinTokenRow, Report as ReportRow, SeenRow};
use subtle::ConstantTimeEq as _;
use workload::Workload;

use super::{commit, ledger::jwk};
use crate::{
    authority::{HOST_LIFE, HostCertificate},
    caller::{Anybody, Host},
    fault::OrProblem,
    permit::{Acting, OwnPermit},
    random,
    rows::{self, HostBody, JoinTokenBody},
    server::Server,
};

/// How long a nonce lives.
const NONCE_LIFE: SignedDuration = SignedDuration::from_mins(5);

/// The label that says what people call a host.
const NAME_LABEL: &str = "name";

/// The longest name of a boot, in characters.
const BOOT_MAX: usize = 64;

/// Lets a host join by a one-time token.
///
/// # Errors
/// When the token is none of ours, was used up, has ended or was revoked.
pub async fn join(
    server: Arc<Server>,
    _: Anybody,
    (): (),
    (): (),
    JoinRequest { token, csr_pem, version }: JoinRequest,
) -> Result<Joined, Problem> {
    let host = random::id("h-")?;
    // A request that cannot be used shall not cost a use of the token.
    let certificate = server.authority.host(&host, &csr_pem, server.clock.now())?;
    let permit = OwnPermit::joining(&format!("join-token:{}", token.id()));
    let mut act = server.act(&permit).await?;
    let hash = random::hash(token.secret().expose());
    let row = spend(&mut act, token.id(), &hash).await?;
    let JoinTokenBody { facts, .. } = rows::read("join_tokens", &row.id, &row.body).or_problem()?;
    let way = JoinedBy::Token { id: row.id };
    let newcomer =
        Newcomer { host, labels: facts.labels, region: facts.region, way, version, certificate };
    admit(&server, act, newcomer).await
}

/// Uses a token once.
async fn spend(act: &mut Acting, id: &str, hash: &str) -> Result<JoinTokenRow, Problem> {
    let refused = || {
        let detail = "no such join token was made here: copy all of it from `rolecall hosts token`";
        Problem::new(Kind::JoinRefused, detail)
    };
    let row = act.join_token(id).await.or_problem()?.ok_or_else(refused)?;
    if !bool::from(row.secret_hash.as_bytes().ct_eq(hash.as_bytes())) {
        return Err(refused());
    }
    let now = act.now();
    let spent = act.use_join_token(id, hash, now).await.or_problem()?;
    spent.ok_or_else(|| {
        let detail = match row {
            JoinTokenRow { revoked: Some(at), .. } => format!("join token `{id}` was revoked at {at}"),
            JoinTokenRow { expires, .. } if expires <= now => {
                format!("join token `{id}` ended at {expires}: ask for another one")
            }
            JoinTokenRow { used, .. } => {
                format!("join token `{id}` was used {used} times, as often as it may be: ask for another one")
            }
        };
        Problem::new(Kind::TokenUsed, detail)
    })
}

/// Gives a nonce for a host that wants to join as its AWS role.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn make_nonce(
    server: Arc<Server>,
    _: Anybody,
    (): (),
    (): (),
    (): (),
) -> Result<Nonce, Problem> {
    let nonce = random::secret("")?;
    let expires = server.clock.now().checked_add(NONCE_LIFE);
    let expires = expires.map_err(|error| crate::fault::internal(&error))?;
    server.state.put_nonce(&random::hash(nonce.expose()), expires).await.or_problem()?;
    Ok(Nonce { nonce: nonce.expose().clone(), expires })
}

/// Lets a host join as the AWS role that it has.
///
/// # Errors
/// When the nonce was used, STS does not know the signature, or no rule knows the role.
pub async fn join_aws(
    server: Arc<Server>,
    _: Anybody,
    (): (),
    (): (),
    JoinAwsRequest { nonce, request, csr_pem, version }: JoinAwsRequest,
) -> Result<Joined, Problem> {
    let host = random::id("h-")?;
    let now = server.clock.now();
    let certificate = server.authority.host(&host, &csr_pem, now)?;
    if !server.state.take_nonce(&random::hash(&nonce), now).await.or_problem()? {
        let detail = "the nonce was used or has ended: ask for another one";
        return Err(Problem::new(Kind::TokenUsed, detail));
    }
    let caller = caller(&server, &nonce, request).await?;
    let permit = OwnPermit::joining(&format!("aws:{}", caller.arn));
    let mut act = server.act(&permit).await?;
    let known = server.refresher.within(&mut act).await.or_problem()?;
    let rule = known.knowledge.join_rules().iter().find(|rule| {
        let pattern = super::joining::role_pattern(rule.terms.role_name.as_str());
        rule.terms.account == caller.account
            && pattern.is_ok_and(|pattern| pattern.is_match(&caller.role))
    });
    let rule = rule.ok_or_else(|| {
        let detail = format!(
            "no join rule knows role `{}` of account `{}`: add one",
            caller.role, caller.account
        );
        Problem::new(Kind::JoinRefused, detail)
    })?;
    let way = JoinedBy::Aws { rule: rule.rule.as_str().to_owned(), arn: caller.arn };
    let (labels, region) = (rule.terms.labels.clone(), rule.terms.region.clone());
    admit(&server, act, Newcomer { host, labels, region, way, version, certificate }).await
}

/// The role that signed a request, as STS says.
struct RoleCaller {
    account: AccountId,
    role: String,
    arn: String,
}

/// Asks STS who signed a request.
async fn caller(
    server: &Server,
    nonce: &str,
    request: SignedRequest,
) -> Result<RoleCaller, Problem> {
    let SignedRequest { url, headers, body } = request;
    let request = aws::SignedRequest { url, headers, body };
    let asked = server.forwarder.forward(&request, nonce).await;
    let identity = asked.map_err(|error| match error {
        ForwardError::Illegal(error) => Problem::invalid("the signed request cannot be sent")
            .with_field("request", error.to_string()),
        ForwardError::Sts(AskError::Denied { .. }) => {
            Problem::new(Kind::JoinRefused, error.to_string())
        }
        ForwardError::Sts(error) => Problem::new(Kind::UpstreamUnavailable, error.to_string()),
    })?;
    let role = identity.role().ok_or_else(|| {
        let detail =
            format!("`{}` is no role: hosts join as the role that they have", identity.arn);
        Problem::new(Kind::JoinRefused, detail)
    })?;
    Ok(RoleCaller {
        account: role.account(),
        role: role.role().to_owned(),
        arn: identity.arn.to_string(),
    })
}

/// A host that may join.
struct Newcomer {
    host: String,
    labels: BTreeMap<String, String>,
    region: Option<Region>,
    way: JoinedBy,
    version: Label,
    certificate: HostCertificate,
}

/// Writes a host down and gives it its identity.
async fn admit(server: &Server, mut act: Acting, newcomer: Newcomer) -> Result<Joined, Problem> {
    let Newcomer { host, labels, region, way, version, certificate } = newcomer;
    let name = labels.get(NAME_LABEL).unwrap_or(&host).clone();
    let detail = json!({
        "name": name,
        "by": serde_json::to_value(&way).or_problem()?,
        "labels": labels,
        "region": region.as_ref().map(ToString::to_string),
        "version": version.as_str(),
        "certificate_expires": certificate.expires.to_string(),
    });
    act.record("host.joined", &host, detail).await?;
    let body = HostBody {
        region: region.as_ref().map(ToString::to_string),
        labels: labels.clone(),
        joined_by: way,
        revoked: None,
    };
    let joined_at = act.now();
    act.put_host(&HostRow {
        host: host.clone(),
        name: name.clone(),
        body: rows::write("hosts", &body).or_problem()?,
        joined: joined_at,
        certificate_expires: certificate.expires,
        revoked: None,
    })
    .await
    .or_problem()?;
    commit(server, act).await?;
    Ok(joined(server, host, name, labels, region, certificate))
}

/// How old a host's certificate must be before it gets another. Each one is an entry of the ledger, and who
/// asks too early has a clock that is wrong, or means harm.
const RENEW_EARLIEST: SignedDuration = SignedDuration::from_hours(1);

/// Gives a host a new certificate.
///
/// # Errors
/// When the host was revoked, its certificate is too fresh, or the request cannot be used.
pub async fn renew(
    server: Arc<Server>,
    host: Host,
    (): (),
    (): (),
    RenewRequest { csr_pem }: RenewRequest,
) -> Result<Joined, Problem> {
    let mut act = server.act(&host.permit()).await?;
    let revoked = || Problem::new(Kind::Revoked, format!("host `{}` was revoked", host.id()));
    let row = act.host(host.id()).await.or_problem()?;
    let row = row.filter(|row| row.revoked.is_none()).ok_or_else(revoked)?;
    let earliest = row.certificate_expires - HOST_LIFE + RENEW_EARLIEST;
    if act.now() < earliest {
        let detail = format!(
            "the certificate is less than {} h old: renew it from {earliest} on, and look at the host's clock",
            RENEW_EARLIEST.as_hours()
        );
        return Err(Problem::conflict(detail));
    }
    let certificate = server.authority.host(host.id(), &csr_pem, act.now())?;
    let detail = json!({ "certificate_expires": certificate.expires.to_string() });
    act.record("host.renewed", host.id(), detail).await?;
    if !act.renew_host(host.id(), certificate.expires).await.or_problem()? {
        return Err(revoked());
    }
    act.commit().await?;
    let body = rows::host(&row).or_problem()?;
    let region = body.region();
    Ok(joined(&server, row.host, row.name, body.labels, region, certificate))
}

fn joined(
    server: &Server,
    host: String,
    name: String,
    labels: BTreeMap<String, String>,
    region: Option<Region>,
    certificate: HostCertificate,
) -> Joined {
    let HostCertificate { pem, expires, renew_after } = certificate;
    Joined {
        host,
        name,
        certificate_pem: pem,
        ca_pem: server.authority.pem().to_owned(),
        expires,
        renew_after,
        orders_keys: vec![jwk(server.orders.public())],
        region,
        labels,
    }
}

/// Takes a host's report.
///
/// # Errors
/// When it names a workload twice or cannot be kept.
pub async fn report(
    server: Arc<Server>,
    host: Host,
    (): (),
    (): (),
    report: Report,
) -> Result<Received, Problem> {
    let row = report_row(host.id(), &report, server.clock.now())?;
    server.refresher.check_fresh()?;
    // One that was overtaken says nothing new; whoever sent it is none the worse for it.
    server.state.put_report(&row).await.or_problem()?;
    Ok(Received { revision: server.refresher.known().revision() })
}

/// A report as it is kept.
fn report_row(host: &str, report: &Report, received: Timestamp) -> Result<ReportRow, Problem> {
    let wrong = |field: &str, reason: &str| {
        Problem::invalid("the report cannot be kept").with_field(field, reason)
    };
    if !(1..=BOOT_MAX).contains(&report.boot.chars().count()) {
        return Err(wrong("boot", "must have 1 to 64 characters"));
    }
    if report.sequence == 0 || i64::try_from(report.sequence).is_err() {
        return Err(wrong("sequence", "must be 1 or more"));
    }
    let mut seen = BTreeSet::new();
    if report.workloads.iter().any(|reported| !seen.insert(&reported.workload)) {
        return Err(wrong("workloads", "must name each workload once"));
    }
    let row = |reported: &api::agents::SeenWorkload| {
        let Workload { application, environment, .. } = &reported.workload;
        Ok(SeenRow {
            workload: reported.workload.to_string(),
            application: application.to_string(),
            environment: environment.to_string(),
            body: rows::write("workloads", reported).or_problem()?,
        })
    };
    Ok(ReportRow {
        host: host.to_owned(),
        boot: report.boot.clone(),
        sequence: report.sequence,
        received,
        version: report.version.as_str().to_owned(),
        orders: report.orders.map(|held| (held.revision, held.issued)),
        workloads: report.workloads.iter().map(row).collect::<Result<_, Problem>>()?,
    })
}

/// Gives a host its orders, once there are later ones.
///
/// # Errors
/// When the host was revoked.
pub async fn orders(
    server: Arc<Server>,
    host: Host,
    (): (),
    OrdersAsked { after, wait_s }: OrdersAsked,
    (): (),
) -> Result<Option<SignedOrders>, Problem> {
    let wait = Duration::from_secs(wait_s.map_or(0, |wait| u64::from(wait.get())));
    let end = tokio::time::Instant::now() + wait;
    let mut watch = server.refresher.watch();
    loop {
        server.refresher.check_fresh()?;
        let known = Arc::clone(&watch.borrow_and_update());
        let now = server.clock.now();
        if let Some(orders) = server.orders.answer(&known.knowledge, host.id(), after, now)? {
            return Ok(Some(orders));
        }
        tokio::select! {
            changed = watch.changed() => if changed.is_err() { return Ok(None) },
            () = tokio::time::sleep_until(end) => return Ok(None),
            () = server.stopping() => return Ok(None),
        }
    }
}

/// Mints a token for one workload.
///
/// # Errors
/// With the first ground that does not hold.
pub async fn mint(
    server: Arc<Server>,
    host: Host,
    (): (),
    (): (),
    request: TokenRequest,
) -> Result<Minted, Problem> {
    server.mint.token(host.id().to_owned(), request).await
}
