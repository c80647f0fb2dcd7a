//! The proxy between two peers, in each of its modes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use practice::proxy::{Mode, Proxy};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";

/// A server that answers every line `.` with `ANSWER`; it lives as long as the test program.
fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if line.is_empty() {
                        let _ = writer.write_all(ANSWER.as_bytes());
                    }
                }
            });
        }
    });
    address
}

fn proxy() -> Proxy {
    Proxy::start(Ipv4Addr::LOCALHOST.into(), server()).unwrap()
}

/// Sends one request and reads up to `most` bytes of what comes back.
fn ask(stream: &mut TcpStream, most: usize) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    stream.write_all(b"POST / HTTP/1.1\r\n\r\n")?;
    let mut text = Vec::new();
    while text.len() < most {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer)? {
            0 => break,
            read => text.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(String::from_utf8(text).unwrap())
}

#[track_caller]
fn check(mode: Mode, expected: Result<&str, ErrorKind>) {
    let proxy = proxy();
    proxy.set(mode).unwrap();
    let answer =
        TcpStream::connect(proxy.address()).and_then(|mut stream| ask(&mut stream, ANSWER.len()));
    match (answer, expected) {
        (Ok(text), Ok(start)) => assert!(text.starts_with(start), "{text}"),
        (answer, expected) => {
            assert_eq!(answer.map_err(|error| error.kind()), expected.map(str::to_owned));
        }
    }
    assert_eq!(proxy.connections(), u64::from(mode != Mode::Refuse));
}

#[test]
fn pass_passes() {
    check(Mode::Pass, Ok(ANSWER));
}

#[test]
fn refuse_refuses_to_connect() {
    check(Mode::Refuse, Err(ErrorKind::ConnectionRefused));
}

#[test]
fn hang_accepts_and_says_nothing() {
    check(Mode::Hang, Err(ErrorKind::WouldBlock));
}

#[test]
fn reset_breaks_off_in_the_middle() {
    check(Mode::Reset, Err(ErrorKind::ConnectionReset));
}

#[test]
fn unavailable_is_a_503() {
    check(Mode::Unavailable, Ok("HTTP/1.1 503 "));
}

#[test]
fn throttle_is_a_400_of_sts() {
    check(Mode::Throttle, Ok("HTTP/1.1 400 "));
}

#[test]
fn delay_holds_the_answer_back_and_no_more() {
    let time = Duration::from_millis(120);
    let started = Instant::now();
    check(Mode::Delay(time), Ok(ANSWER));
    assert!(started.elapsed() >= time);
}

#[test]
fn a_kept_connection_does_not_escape_a_new_mode() {
    let proxy = proxy();
    let mut kept = TcpStream::connect(proxy.address()).unwrap();
    assert_eq!(ask(&mut kept, ANSWER.len()).unwrap(), ANSWER);
    proxy.set(Mode::Hang).unwrap();
    assert_ne!(ask(&mut kept, ANSWER.len()).ok().as_deref(), Some(ANSWER));
}

#[test]
fn the_same_port_is_back_after_refusing() {
    let proxy = proxy();
    for mode in [Mode::Refuse, Mode::Pass, Mode::Refuse, Mode::Pass] {
        proxy.set(mode).unwrap();
    }
    assert_eq!(
        ask(&mut TcpStream::connect(proxy.address()).unwrap(), ANSWER.len()).unwrap(),
        ANSWER
    );
}

#[test]
fn a_proxy_that_is_dropped_lets_go_of_its_clients() {
    let proxy = proxy();
    proxy.set(Mode::Hang).unwrap();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"x").unwrap();
    let address = proxy.address();
    drop(proxy);
    assert!(TcpStream::connect(address).is_err());
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The end or a reset: not a time-out.
    let ended = stream.read(&mut [0; 8]);
    assert!(
        !matches!(ended, Err(ref error) if error.kind() == ErrorKind::WouldBlock)
            && !matches!(ended, Ok(1..)),
        "{ended:?}"
    );
}
