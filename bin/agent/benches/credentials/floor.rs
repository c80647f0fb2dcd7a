//! The peer: a bare hyper server that says the same bytes to everybody.
//!
//! It has the runtime that the agent has, and nothing else: no check, no log, no time limit.

use std::{
    convert::Infallible,
    io::{self, BufRead},
    net::Ipv4Addr,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response,
    header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{Outcome, client::Answer};

/// Reads the answer that it shall give, says where it listens, and serves until it is killed.
pub(crate) fn run() -> Outcome<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let answer: Answer = serde_json::from_str(&line)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(response(&answer)?))
}

async fn serve(response: Response<Full<Bytes>>) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", serde_json::to_string(&listener.local_addr()?)?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let response = response.clone();
        tokio::spawn(async move {
            let service = service_fn(move |_| {
                let response = response.clone();
                async move { Ok::<_, Infallible>(response) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            // Whoever hangs up has had enough.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn response(answer: &Answer) -> Outcome<Response<Full<Bytes>>> {
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        // hyper says these two itself, to us as to the agent.
        if name != DATE && name != CONTENT_LENGTH {
            headers.append(name, HeaderValue::from_str(value)?);
        }
    }
    let mut response = Response::new(Full::new(Bytes::from(answer.body.clone())));
    *response.headers_mut() = headers;
    Ok(response)
}
