//! An agent on its own, to which the test speaks as a shim does.

use std::{
    fmt::Write as _,
    io::Write,
    net::{Ipv4Addr, UdpSocket},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use practice::agent::{Agent, Plan};
use serde_json::Value;

use crate::stage::{status, until};

/// An agent that records calls; no program is leased anything.
pub(crate) struct Alone {
    pub(crate) agent: Agent,
    pub(crate) port: u16,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Alone {
    /// With these lines of `[calls]`. `prepare` may change the agent's folder before it starts.
    pub(crate) fn start(lines: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::new(env!("CARGO_BIN_EXE_rolecall-agent"), folder.path()).unwrap();
        prepare(folder.path());
        let socket = folder.path().join("calls.sock");
        let port = free_port();
        let rest = format!(
            "[metadata]\nlisten = [\"127.0.0.1:{}\"]\nworkload = \"orders/prod/1\"\n\
             [[binding]]\napplication = \"orders\"\nenvironment = \"prod\"\nsource = \"assume-role\"\n\
             role = \"arn:aws:iam::222222222222:role/orders\"\nswitch = \"off\"\n\
             [calls]\nsocket = {socket:?}\nmonitoring_port = {port}\n{lines}\n",
            free_port()
        );
        plan.write("eu-west-1", &rest).unwrap();
        Self { agent: plan.start().unwrap(), port, socket, _folder: folder }
    }

    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).unwrap()
    }

    /// Says lines as one shim, and hangs up.
    pub(crate) fn say(&self, lines: &[String]) {
        let mut stream = self.connect();
        for some in lines.chunks(1000) {
            let text = some.iter().fold(String::new(), |mut text, line| {
                writeln!(text, "{line}").unwrap();
                text
            });
            stream.write_all(text.as_bytes()).unwrap();
        }
    }

    /// Waits until so many calls were heard of, and all of them are durable or lost; gives the status.
    #[track_caller]
    pub(crate) fn settled(&self, sent: u64) -> Value {
        until("all is settled", || {
            let status = status(&self.agent);
            let coverage = &status["coverage"];
            assert_eq!(coverage["adds_up"], true, "{status:#}");
            (coverage["sent"] == sent && coverage["held"] == 0).then_some(status)
        })
    }

    /// The names of buckets that calls were recorded of.
    pub(crate) fn buckets(&self) -> Vec<String> {
        self.buckets_from(1)
    }

    /// The same, from a frame of the spool on.
    pub(crate) fn buckets_from(&self, frame: u64) -> Vec<String> {
        let entries = self.agent.lines(&["calls", "--from", &frame.to_string()]).unwrap();
        let calls = entries.iter().filter(|entry| entry["entry"] == "calls");
        let name = |call: &Value| {
            let arn = call["actions"]["s3:ListBucket"][0].as_str().unwrap();
            arn.rsplit(':').next().unwrap().to_owned()
        };
        calls.map(name).collect()
    }

    /// How much memory it takes, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        let file = format!("/proc/{}/status", self.agent.id().unwrap());
        let text = std::fs::read_to_string(file).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    }
}

/// A call that lists a bucket.
pub(crate) fn list(bucket: &str) -> String {
    let time = Timestamp::now().as_millisecond();
    format!(
        r#"{{"Version":2,"Type":"ApiCall","Service":"S3","Api":"ListObjectsV2","Timestamp":{time},"FinalHttpStatusCode":200,"Parameters":{{"Bucket":["{bucket}"]}}}}"#
    )
}

/// The same, as monitoring tells it.
pub(crate) fn monitored() -> String {
    list("x")
        .replace("\"Version\":2", "\"Version\":1")
        .replace(r#","Parameters":{"Bucket":["x"]}"#, "")
}

/// Names that do not compress.
pub(crate) fn names(count: usize) -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut name = || {
        let mut name = String::from("b");
        while name.len() < 60 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            write!(name, "{state:016x}").unwrap();
        }
        name.truncate(60);
        name
    };
    (0..count).map(|_| name()).collect()
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}
