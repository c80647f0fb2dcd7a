//! The provider's own metadata service, which knows the host alone.

use std::{
    collections::BTreeMap,
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use crate::http::TOKEN;

/// A secret of the host that must never come anywhere.
pub(crate) const USER_DATA: &str = "join-key=planted-user-data-secret";
/// A session token of the provider.
const SESSION: &str = "planted-provider-session";

/// It answers from a table, to requests with a session token alone, and remembers who asked for what.
pub(crate) struct Provider {
    asked: Arc<Mutex<Vec<String>>>,
    stop: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Provider {
    pub(crate) fn start(listener: TcpListener, wake: TcpStream) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let stop = wake.try_clone().unwrap();
        let thread = thread::spawn(move || {
            // The first connection is our own: once it ends, so do we.
            let (own, _) = listener.accept().unwrap();
            listener.set_nonblocking(true).unwrap();
            serve(&listener, &own, &kept);
            drop(wake);
        });
        Self { asked, stop, thread: Some(thread) }
    }

    /// On the host's side of every namespace.
    pub(crate) fn on_host(address: std::net::IpAddr) -> (Self, String) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let wake = TcpStream::connect(at).unwrap();
        (Self::start(listener, wake), format!("http://{at}"))
    }

    /// What was asked so far, such as `GET /latest/meta-data/ami-id`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Accepts until `own` has ended.
fn serve(listener: &TcpListener, own: &TcpStream, asked: &Mutex<Vec<String>>) {
    use rustix::event::{PollFd, PollFlags, poll};
    let leaves = leaves();
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(own, PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        if !fds[1].revents().is_empty() {
            return;
        }
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            // A client that hangs up is its own loss.
            let _ = answer(stream, &leaves, asked);
        }
    }
}

fn answer(
    stream: TcpStream,
    leaves: &BTreeMap<&str, &str>,
    asked: &Mutex<Vec<String>>,
) -> io::Result<()> {
    use std::io::{BufRead, BufReader, Write};
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let wanted = head.split(" HTTP/").next().unwrap_or_default().to_owned();
    let with_token = head.lines().any(|line| {
        line.split_once(": ")
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case(TOKEN) && value == SESSION)
    });
    let (status, body) = match wanted.split_once(' ') {
        Some(("PUT", "/latest/api/token")) => ("200 OK", SESSION),
        Some(("GET", _)) if !with_token => ("401 Unauthorized", ""),
        Some(("GET", path)) => match leaves.get(path) {
            Some(body) => ("200 OK", *body),
            None => ("404 Not Found", ""),
        },
        _ => ("405 Method Not Allowed", ""),
    };
    asked.lock().unwrap().push(wanted);
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    reader.get_mut().write_all(text.as_bytes())
}

fn leaves() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("/latest/meta-data/ami-id", "ami-0123456789abcdef0"),
        ("/latest/meta-data/instance-id", "i-0123456789abcdef0"),
        ("/latest/meta-data/block-device-mapping/root", "/dev/xvda"),
        ("/latest/meta-data/iam/security-credentials", "the-hosts-own-role"),
        ("/latest/meta-data/iam/security-credentials/", "the-hosts-own-role"),
        (
            "/latest/meta-data/iam/security-credentials/the-hosts-own-role",
            "{\"Code\": \"Success\"}",
        ),
        ("/latest/user-data", USER_DATA),
    ])
}
