//! A host with an agent that has a development listener, and a client behind it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use practice::{
    agent::{Agent, Plan},
    program::{Finished, Invocation},
};
use serde_json::{Value, json};

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A host, gone at the end with all that it had.
pub(crate) struct Host {
    agent: Option<Agent>,
    plan: Plan,
    /// Where its workload asks.
    pub(crate) listen: SocketAddr,
    server: SocketAddr,
    folder: tempfile::TempDir,
}

impl Host {
    /// A host whose file names a server, and STS at another address. Whoever connects is `orders/prod/1`.
    pub(crate) fn new(server: SocketAddr, sts: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::new(env!("CARGO_BIN_EXE_rolecall-agent"), folder.path()).unwrap();
        let listen = free_port();
        let metadata = host_metadata();
        let rest = format!(
            "[server]\naddresses = [\"https://{server}\"]\n\n\
             [host]\nmetadata = \"http://{metadata}\"\nallow = [\"meta-data/iam/**\"]\n\n\
             [sts]\nendpoint = {sts:?}\n\n\
             [metadata]\nlisten = [\"{listen}\"]\nworkload = \"orders/prod/1\"\n"
        );
        plan.write("eu-west-1", &rest).unwrap();
        Self { agent: None, plan, listen, server, folder }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Joins by a token.
    pub(crate) fn join(&self, token: &str, more: &[&str]) -> Finished {
        let file: PathBuf = self.folder.path().join("token");
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let (server, file) = (format!("https://{}", self.server), file.display().to_string());
        let mut arguments = vec!["join", "--server", &server, "--token-file", &file];
        arguments.extend(more);
        self.command(&arguments)
    }

    /// Runs a command that needs no running agent.
    pub(crate) fn command(&self, arguments: &[&str]) -> Finished {
        self.words(arguments).run(PATIENCE).unwrap()
    }

    /// A command that needs no running agent, to be run.
    pub(crate) fn words(&self, arguments: &[&str]) -> Invocation {
        let agent = Invocation::new(env!("CARGO_BIN_EXE_rolecall-agent"));
        agent.arg("--config").arg(self.plan.config()).args(arguments.iter().copied())
    }

    pub(crate) fn start(&mut self) -> Result<(), String> {
        let agent = self.plan.clone().start().map_err(|error| error.to_string())?;
        self.agent = Some(agent);
        Ok(())
    }

    pub(crate) fn stop(&mut self) {
        self.agent.take().unwrap().stop().unwrap();
    }

    pub(crate) fn status(&self) -> Value {
        self.agent.as_ref().unwrap().command(&["status"]).unwrap()
    }

    /// A client that keeps one connection for ever.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.listen)
    }
}

/// An HTTP client with one connection.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Asks for the credentials of the role that there is, as an SDK does.
    pub(crate) fn credentials(&mut self) -> (u16, String) {
        let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
        let (status, token) = self.ask("PUT", "/latest/api/token", ttl);
        if status != 200 {
            return (status, token);
        }
        let header = format!("X-aws-ec2-metadata-token: {token}\r\n");
        let at = "/latest/meta-data/iam/security-credentials/";
        let (status, role) = self.ask("GET", at, &header);
        if status != 200 {
            return (status, role);
        }
        self.ask("GET", &format!("{at}{}", role.trim()), &header)
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str) -> (u16, String) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 169.254.169.254\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        let (status, length) = head_of(&mut self.0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

/// The status and the length of a message.
fn head_of(stream: &mut BufReader<TcpStream>) -> (u16, usize) {
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            return (status, length);
        }
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest.split(' ').next().unwrap().parse().unwrap();
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The host's own metadata service: a role whose credentials live for an hour.
fn host_metadata() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    if stream.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    head_of(&mut stream);
    let body = if first.starts_with("PUT ") {
        "a-session-token".to_owned()
    } else if first.contains("security-credentials/host-role") {
        let ends = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        json!({ "Code": "Success", "AccessKeyId": "HOSTKEY", "SecretAccessKey": "s", "Token": "t", "Expiration": ends })
            .to_string()
    } else {
        "host-role".to_owned()
    };
    let ttl = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 600\r\n";
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\n{ttl}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let _ = stream.get_mut().write_all(answer.as_bytes());
}
