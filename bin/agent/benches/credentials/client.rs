//! A client that does what an SDK does: a session token, the role's name, its credentials.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Where roles are listed.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer, as it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What a client needs to ask again and again, and what it then gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The request, byte for byte.
    pub(crate) request: String,
    /// The answer to it.
    pub(crate) answer: Answer,
}

/// One keep-alive connection.
pub(crate) struct Line(TcpStream);

impl Line {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub(crate) fn connect(to: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_timeout(&to, PATIENCE)?)
    }

    /// Gets credentials from nothing.
    pub(crate) fn credentials(&mut self) -> io::Result<Sample> {
        let life = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
        let token = self.ask(&head("PUT", "/latest/api/token", life))?.well()?.body;
        let token = format!("x-aws-ec2-metadata-token: {token}");
        let role = self.ask(&head("GET", ROLES, &token))?.well()?.body;
        let request = head("GET", &format!("{ROLES}{role}"), &token);
        let answer = self.ask(&request)?.well()?;
        if answer.body.contains("AccessKeyId") {
            return Ok(Sample { request, answer });
        }
        Err(io::Error::other(format!("no credentials: {}", answer.body)))
    }

    /// One request, one answer.
    pub(crate) fn ask(&mut self, request: &str) -> io::Result<Answer> {
        self.0.write_all(request.as_bytes())?;
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let length = self.0.read(&mut piece)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            said.extend_from_slice(piece.get(..length).unwrap_or_default());
            if whole(&said).is_some_and(|whole| whole <= said.len()) {
                return parse(&said);
            }
        }
    }
}

impl Answer {
    fn well(self) -> io::Result<Self> {
        if self.status == 200 {
            return Ok(self);
        }
        Err(io::Error::other(format!("status {}: {}", self.status, self.body)))
    }

    /// What of it must be the same whoever sends it: all but the time.
    pub(crate) fn lasting(&self) -> (u16, Vec<&(String, String)>, &str) {
        let passing = ["date", "x-aws-ec2-metadata-token-ttl-seconds"];
        let headers = self.headers.iter().filter(|(name, _)| !passing.contains(&name.as_str()));
        let mut headers: Vec<_> = headers.collect();
        headers.sort();
        (self.status, headers, &self.body)
    }
}

/// A request as an SDK sends it.
fn head(method: &str, path: &str, header: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 169.254.169.254\r\n{header}\r\n\
         user-agent: aws-sdk-rust/1.3.9 ua/2.1 os/linux lang/rust\r\naccept: */*\r\n\
         content-length: 0\r\n\r\n"
    )
}

/// How long the answer that begins with `said` is as a whole, once its head is there.
pub(crate) fn whole(said: &[u8]) -> Option<usize> {
    let head = said.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(said.get(..head)?).ok()?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    Some(head + length.trim().parse::<usize>().ok()?)
}

fn parse(said: &[u8]) -> io::Result<Answer> {
    let wrong = || io::Error::other("an answer that is no HTTP");
    let text = String::from_utf8(said.to_vec()).map_err(|_| wrong())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let (first, rest) = head.split_once("\r\n").ok_or_else(wrong)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let headers = rest.split("\r\n").filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Answer {
        status: status.ok_or_else(wrong)?,
        headers: headers.collect(),
        body: body.to_owned(),
    })
}
