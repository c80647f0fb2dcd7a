//! An ear: a unix stream that takes what shims say, as the agent's will.

use std::{
    io::{BufRead, BufReader},
    os::unix::net::UnixListener,
    path::Path,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// Everything that one process says until it hangs up.
pub(crate) fn listen(socket: &Path) -> Receiver<Vec<Vec<u8>>> {
    let listener = UnixListener::bind(socket).unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let lines = BufReader::new(stream.unwrap()).split(b'\n');
            if tell.send(lines.map(Result::unwrap).collect()).is_err() {
                return;
            }
        }
    });
    told
}

/// The lines of the next process that hangs up.
pub(crate) fn heard(told: &Receiver<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    told.recv_timeout(Duration::from_secs(30)).unwrap()
}
