//! `rolecall conformance`: the kit's cases, over real sockets.

use std::{
    io::{IsTerminal, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use clap::{Args, Subcommand};
use conformance::{AnswerSeen, Exchange, Requirement, Run, Targets};

use crate::{
    Done, Failure,
    paper::{Output, print},
};

/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum Conformance {
    /// Judge an instance metadata service, and container doors where they are named.
    Metadata(Metadata),
}

#[derive(Debug, Args)]
pub(crate) struct Metadata {
    /// The service, such as `http://169.254.169.254` or `http://127.0.0.1:1338`.
    url: String,
    /// An ECS container endpoint: the full URL of its credentials.
    #[arg(long, value_name = "URL")]
    container_url: Option<String>,
    /// What its clients send as `Authorization`.
    #[arg(long, value_name = "TOKEN", requires = "container_url")]
    container_token: Option<String>,
    /// An EKS Pod Identity endpoint: the full URL of its credentials.
    #[arg(long, value_name = "URL", requires = "pod_identity_token")]
    pod_identity_url: Option<String>,
    /// What its clients send as `Authorization`.
    #[arg(long, value_name = "TOKEN", requires = "pod_identity_url")]
    pod_identity_token: Option<String>,
    /// What the implementation lacks: cases that need it are skipped, with the reason.
    #[arg(long, value_name = "REQUIREMENT")]
    without: Vec<String>,
    /// What the implementation has besides the usual.
    #[arg(long, value_name = "REQUIREMENT")]
    with: Vec<String>,
}

impl Conformance {
    pub(crate) fn execute(&self, output: Output) -> Result<Done, Failure> {
        let Self::Metadata(metadata) = self;
        metadata.execute(output)
    }
}

impl Metadata {
    fn execute(&self, output: Output) -> Result<Done, Failure> {
        let cases = conformance::metadata_cases().map_err(Failure::world)?;
        let mut run = Run::new(&cases, self.targets()?);
        let mut answered = false;
        while let Some(exchange) = run.next_exchange() {
            progress(run.report().cases.len(), cases.len());
            match send(&exchange) {
                Ok(bytes) => {
                    answered = true;
                    run.answered(&bytes);
                }
                // Nothing was there from the start: that is no verdict on an implementation.
                Err(error) if !answered => {
                    return Err(Failure::World(format!("`{}`: {error}", exchange.authority)));
                }
                Err(error) => run.failed(&error.to_string()),
            }
        }
        progress(cases.len(), cases.len());
        let report = run.report();
        match output {
            Output::Json => print(&serde_json::to_string_pretty(report).map_err(Failure::world)?),
            Output::Table => print(&report.to_string()),
        }
        Ok(if report.conforms() { Done::Yes } else { Done::No })
    }

    fn targets(&self) -> Result<Targets, Failure> {
        let mut targets = Targets::new(&self.url).map_err(Failure::input)?;
        if let Some(url) = &self.container_url {
            let token = self.container_token.as_deref();
            targets = targets.with_container(url, token).map_err(Failure::input)?;
        }
        if let (Some(url), Some(token)) = (&self.pod_identity_url, &self.pod_identity_token) {
            targets = targets.with_pod_identity(url, token).map_err(Failure::input)?;
        }
        for name in &self.with {
            targets = targets.with(requirement(name)?);
        }
        for name in &self.without {
            targets = targets.without(requirement(name)?);
        }
        Ok(targets)
    }
}

fn requirement(name: &str) -> Result<Requirement, Failure> {
    let known = Requirement::ALL.into_iter().find(|known| known.as_str() == name);
    known.ok_or_else(|| {
        let names: Vec<_> = Requirement::ALL.iter().map(|known| known.as_str()).collect();
        Failure::Input(format!("no requirement is called `{name}`: there are {}", names.join(", ")))
    })
}

fn send(exchange: &Exchange) -> std::io::Result<Vec<u8>> {
    let authority = match exchange.authority.rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => exchange.authority.clone(),
        _ => format!("{}:80", exchange.authority),
    };
    let mut addresses = authority.to_socket_addrs()?;
    let address = addresses.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&exchange.bytes())?;
    let mut answer = Vec::new();
    let limit = AnswerSeen::BYTES_MAX as u64;
    match stream.take(limit).read_to_end(&mut answer) {
        // A server may reset the rest of a connection whose answer it has sent.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

/// A line that is written over, for people who wait.
fn progress(done: usize, all: usize) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let end = if done == all { "\r\x1b[K" } else { "" };
        // Whoever cannot see it does not miss it.
        let _ = write!(stderr, "\r{done} of {all} cases{end}");
        let _ = stderr.flush();
    }
}
