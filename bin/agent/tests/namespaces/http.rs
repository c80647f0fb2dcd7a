//! HTTP/1.1 by hand, so that a test sends exactly what it says and sees all that comes back.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// How long an answer may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection, kept open between requests.
pub(crate) struct Line(BufReader<TcpStream>);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Line {
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Reads one answer; the end of the connection is an error.
    pub(crate) fn read(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let strange = || io::Error::new(io::ErrorKind::InvalidData, head.clone());
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer { status: status.ok_or_else(strange)?, head, body: String::new() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }

    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 169.254.169.254\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        self.send((request + "\r\n").as_bytes())?;
        self.read()
    }

    /// A session token.
    pub(crate) fn token(&mut self) -> String {
        let answer = self.ask("PUT", "/latest/api/token", &[(TTL, "21600")]).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub(crate) fn get(&mut self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, &[(TOKEN, token)]).unwrap()
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The access key id of credentials that came whole.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        let json = self.json();
        assert_eq!(json["Code"], "Success");
        for field in ["SecretAccessKey", "Token", "Expiration"] {
            assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
        }
        json["AccessKeyId"].as_str().unwrap().to_owned()
    }
}

/// The header that carries a session token.
pub(crate) const TOKEN: &str = "X-aws-ec2-metadata-token";
/// The header that says how long one shall live.
pub(crate) const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
