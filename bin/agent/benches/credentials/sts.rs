//! A stand-in for STS: it believes everything and answers at once.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;

use crate::Outcome;

/// The stand-in, in a thread of this process. It goes when the process does.
pub(crate) struct Sts {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Sts {
    pub(crate) fn start() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let counting = Arc::clone(&counts);
        let thread = std::thread::Builder::new().name("sts".to_owned());
        thread.spawn(move || runtime.block_on(serve(listener, counting)))?;
        Ok(Self { address, counts })
    }

    /// How many calls it has had, and how many seconds it took for them, since it was last asked.
    pub(crate) fn took(&self) -> (u64, f64) {
        let calls = self.counts.calls.swap(0, Ordering::Relaxed);
        let nanoseconds = self.counts.nanoseconds.swap(0, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "no run lasts for weeks")]
        (calls, nanoseconds as f64 / 1e9)
    }
}

async fn serve(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((stream, _)) = listener.accept().await {
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&counts)));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    counts: Arc<Counts>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let began = Instant::now();
    // A body that breaks off is the agent's loss: its next try brings a whole one.
    let _ = request.into_body().collect().await;
    let call = counts.calls.fetch_add(1, Ordering::Relaxed);
    let mut response = Response::new(Full::new(Bytes::from(issue(call))));
    let xml = hyper::header::HeaderValue::from_static("text/xml");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, xml);
    let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    counts.nanoseconds.fetch_add(took, Ordering::Relaxed);
    Ok(response)
}

/// Credentials as long as real ones are: a session token with tags has about a thousand letters.
fn issue(call: u64) -> String {
    let expiration = Timestamp::now() + SignedDuration::from_hours(1);
    let token = "StandInSessionToken/".repeat(50);
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials>\
         <AccessKeyId>ASIASTANDIN{call:09}</AccessKeyId>\
         <SecretAccessKey>StandInSecretAccessKey{call:018}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>{expiration:.0}</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult>\
         <ResponseMetadata><RequestId>stand-in</RequestId></ResponseMetadata>\
         </AssumeRoleWithWebIdentityResponse>"
    )
}
