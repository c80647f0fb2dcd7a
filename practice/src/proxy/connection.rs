//! One connection through the proxy, in the mode in which it was accepted.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Mode;

/// The mode in force and the connections that live in it.
#[derive(Debug)]
pub(super) struct Switch {
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Counts the turns, so that a connection can tell that its own mode is over.
    turn: u64,
    open: BTreeMap<u64, TcpStream>,
    next: u64,
}

impl Switch {
    pub(super) fn new(mode: Mode) -> Self {
        let state = State { mode, turn: 0, open: BTreeMap::new(), next: 0 };
        Self { state: Mutex::new(state), turned: Condvar::new() }
    }

    /// Changes the mode and ends every connection of the old one.
    pub(super) fn turn(&self, mode: Mode) {
        let mut state = self.lock();
        state.mode = mode;
        state.turn += 1;
        for stream in std::mem::take(&mut state.open).into_values() {
            // A peer that has hung up already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.turned.notify_all();
    }

    /// Waits, but no longer than the mode of turn `turn` is in force.
    fn wait(&self, turn: u64, time: Option<Duration>) {
        let same = |state: &mut State| state.turn == turn;
        match time {
            Some(time) => drop(self.turned.wait_timeout_while(self.lock(), time, same)),
            None => drop(self.turned.wait_while(self.lock(), same)),
        }
    }

    /// Registers a stream so that a turn ends it; the mode and the turn that it lives in.
    fn enter(&self, stream: &TcpStream) -> io::Result<(Mode, u64, u64)> {
        let kept = stream.try_clone()?;
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.open.insert(id, kept);
        Ok((state.mode, state.turn, id))
    }

    fn leave(&self, id: u64) {
        self.lock().open.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one client to the end.
pub(super) fn serve(switch: &Switch, client: &TcpStream, target: SocketAddr) {
    let Ok((mode, turn, id)) = switch.enter(client) else { return };
    // An error is the end of the connection, and its peers see that.
    let _ = match mode {
        Mode::Pass => pass(switch, turn, client, target, Duration::ZERO),
        Mode::Delay(time) => pass(switch, turn, client, target, time),
        Mode::Reset => reset(client, target),
        Mode::Unavailable => answer(client, UNAVAILABLE),
        Mode::Throttle => answer(client, THROTTLED),
        Mode::Hang => {
            switch.wait(turn, None);
            Ok(())
        }
        Mode::Refuse => Ok(()),
    };
    switch.leave(id);
    // A reset must not be heralded by an orderly end.
    if mode != Mode::Reset {
        let _ = client.shutdown(Shutdown::Both);
    }
}

fn pass(
    switch: &Switch,
    turn: u64,
    client: &TcpStream,
    target: SocketAddr,
    delay: Duration,
) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&target, CONNECT)?;
    // Bytes leave as they come: a proxy that gathers them would add its own delay to the one asked for.
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (_, _, id) = switch.enter(&server)?;
    let asked = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = pump(client, &server, || asked.store(true, Ordering::SeqCst));
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = pump(&server, client, || {
            // Only what is said first after the client spoke is held back: that is one answer.
            if asked.swap(false, Ordering::SeqCst) && !delay.is_zero() {
                switch.wait(turn, Some(delay));
            }
        });
        // The server has said all: the client's half may be idle for ever.
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
    switch.leave(id);
    Ok(())
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, before: impl Fn()) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        before();
        to.write_all(buffer.get(..read).unwrap_or_default())?;
    }
}

/// Half of the answer, then a reset.
fn reset(mut client: &TcpStream, target: SocketAddr) -> io::Result<()> {
    let request = read_request(client)?;
    let mut server = TcpStream::connect_timeout(&target, CONNECT)?;
    server.set_read_timeout(Some(ANSWER))?;
    server.write_all(&request)?;
    let mut start = vec![0; 16 * 1024];
    let read = server.read(&mut start)?;
    client.write_all(start.get(..read / 2).unwrap_or_default())?;
    // Closing with a linger of zero is what makes the kernel send RST.
    rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO))?;
    Ok(())
}

fn answer(mut client: &TcpStream, text: &str) -> io::Result<()> {
    read_request(client)?;
    client.write_all(text.as_bytes())
}

/// One HTTP/1.1 request with a body of known length, as the SDKs send them to STS.
fn read_request(mut client: &TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = client.read(&mut buffer)?;
        request.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if read == 0 || request.len() > MOST_BYTES || is_whole(&request) {
            return Ok(request);
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(request.get(..end).unwrap_or_default()).to_lowercase();
    let length = head
        .lines()
        .filter_map(|line| line.strip_prefix("content-length:"))
        .filter_map(|value| value.trim().parse::<usize>().ok())
        .next()
        .unwrap_or(0);
    request.len() >= end + 4 + length
}

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);
const MOST_BYTES: usize = 1024 * 1024;

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain\r\nContent-Length: 20\r\nConnection: close\r\n\r\nService Unavailable\n";

/// As STS says it: HTTP 400 with the code `Throttling`.
const THROTTLED: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/xml\r\nContent-Length: 229\r\nConnection: close\r\n\r\n\
    <ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
    <Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error>\
    <RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, whole: bool) {
        assert_eq!(is_whole(request.as_bytes()), whole);
    }

    #[test]
    fn a_request_is_whole_with_its_body() {
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", false);
        check("POST / HTTP/1.1\r\ncontent-length:3\r\n\r\nabc", true);
        check("GET / HTTP/1.1\r\n\r\n", true);
        check("GET / HTTP/1.1\r\n", false);
    }

    #[test]
    fn canned_answers_say_their_own_length() {
        for text in [UNAVAILABLE, THROTTLED] {
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                text.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{}",
                body.len()
            );
        }
    }
}
