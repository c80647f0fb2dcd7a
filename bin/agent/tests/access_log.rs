//! The access log: what stands in it of each request, and what happens when it cannot be written.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use practice::agent::{Agent, Plan};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const ROLE: &str = "arn:aws:iam::222222222222:role/orders";
const KEY: &str = "ASIAPRACTICE00000001";
const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/orders";

/// An agent with one workload behind loopback, and somebody who answers as STS does: what is tested
/// is what is written down, not what STS says.
struct Desk {
    agent: Agent,
    folder: PathBuf,
    instance: SocketAddr,
    container: SocketAddr,
}

/// A path of the host that the workload may read.
const OF_HOST: &str = "/latest/meta-data/ami-id";

impl Desk {
    /// `prepare` may put something in the place of the access log before the agent opens it.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let (folder, home) = place();
        fs::create_dir(&folder).unwrap();
        let sts = TcpListener::bind((home, 0)).unwrap();
        let endpoint = sts.local_addr().unwrap();
        // It ends with the test program.
        thread::spawn(move || sts.incoming().flatten().for_each(answer_as_sts));
        let host = TcpListener::bind((home, 0)).unwrap();
        let metadata = host.local_addr().unwrap();
        thread::spawn(move || host.incoming().flatten().for_each(answer_as_host));
        let (instance, container) =
            (SocketAddr::from((home, 4711)), SocketAddr::from((home, 4712)));
        let key = folder.join("host.key");
        fs::write(&key, "AKIAPRACTICE00000001\npractice-secret\n").unwrap();
        let plan = Plan::new(env!("CARGO_BIN_EXE_rolecall-agent"), &folder).unwrap();
        let file = format!(
            "[sts]\nendpoint = \"http://{endpoint}\"\nhost_key_file = {key:?}\n\
             [metadata]\nlisten = [\"{instance}\"]\nlisten_container = [\"{container}\"]\n\
             workload = \"orders/prod/i-1\"\n\
             [[binding]]\napplication = \"orders\"\nenvironment = \"prod\"\nrole = \"{ROLE}\"\n\
             source = \"assume-role\"\nimdsv1 = true\n[host]\nmetadata = \"http://{metadata}\"\n"
        );
        plan.write("eu-central-1", &file).unwrap();
        prepare(&plan.access_log());
        let agent = plan.start().unwrap();
        Self { agent, folder, instance, container }
    }

    /// Asks for `path`, and returns the status.
    fn get(&self, path: &str, headers: &str) -> u16 {
        ask(self.instance, "GET", path, headers).0
    }

    fn writable(&self) -> bool {
        self.agent.command(&["status"]).unwrap()["log_writable"] == true
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // A killed agent cannot leave anything behind that would matter.
        let _ = self.agent.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder and a loopback address that no other test has.
fn place() -> (PathBuf, Ipv4Addr) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, b, c, d] = std::process::id().to_be_bytes();
    let name = format!("rolecall-access-{}-{number}", std::process::id());
    let home =
        Ipv4Addr::new(127, b.wrapping_mul(16).wrapping_add(u8::try_from(number).unwrap()), c, d);
    (std::env::temp_dir().join(name), home)
}

fn answer_as_sts(mut stream: TcpStream) {
    let mut request = [0; 16 * 1024];
    if stream.read(&mut request).unwrap_or(0) == 0 {
        return;
    }
    let body = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>practice</SecretAccessKey>\
         <SessionToken>practice</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
         </Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n");
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
}

/// The host's own metadata: a token, and one text in answer to everything.
fn answer_as_host(mut stream: TcpStream) {
    if stream.read(&mut [0; 4096]).unwrap_or(0) > 0 {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nami-1";
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// One request on a connection of its own: the status and the body.
fn ask(to: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let status = said.split(' ').nth(1).unwrap().parse().unwrap();
    (status, said.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The line of a request without what differs from run to run, which is checked here.
fn stable(mut line: Value) -> Value {
    let fields = line.as_object_mut().unwrap();
    let time = fields.remove("time").unwrap();
    assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
    for field in ["verdict_us", "duration_us"] {
        let took = fields.remove(field).unwrap();
        assert!(took.as_u64().is_some_and(|us| us < 20_000_000), "{field}: {took}");
    }
    if let Some(age) = fields.remove("lease_age_s") {
        assert!(age.as_u64().is_some_and(|age| age < 60), "{age}");
    }
    line
}

/// Sends one request, and holds its line in the log against what it must say besides the usual.
#[track_caller]
fn check(desk: &Desk, method: &str, path: &str, headers: &str, more: &Value) {
    check_at(desk, desk.instance, method, path, headers, more);
}

#[track_caller]
fn check_at(desk: &Desk, door: SocketAddr, method: &str, path: &str, headers: &str, more: &Value) {
    let before = desk.agent.access().unwrap().len();
    let (status, _) = ask(door, method, path, headers);
    until("the line", || desk.agent.access().unwrap().len() > before);
    let mut wanted = json!({
        "workload": "orders/prod/i-1", "evidence": {}, "verdict": "attested", "door": "instance",
        "method": method, "status": status,
    });
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(stable(desk.agent.access().unwrap()[before].clone()), wanted, "{method} {path}");
}

#[test]
fn every_request_leaves_one_line() {
    let desk = Desk::new(|_| {});
    let start = desk.agent.access().unwrap();
    assert_eq!((start.len(), &start[0]["started"]), (1, &json!(env!("CARGO_PKG_VERSION"))));
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let (_, token) = ask(desk.instance, "PUT", "/latest/api/token", ttl);
    until("the line", || desk.agent.access().unwrap().len() == 2);
    let with = format!("X-aws-ec2-metadata-token: {token}\r\n");

    check(&desk, "PUT", "/latest/api/token", ttl, &json!({ "class": "token", "status": 200 }));
    let roles = "/latest/meta-data/iam/security-credentials";
    check(&desk, "GET", roles, &with, &json!({ "class": "role-name", "status": 200 }));
    let served = json!({
        "class": "role-credentials", "status": 200, "role": ROLE, "lease": 1, "access_key_id": KEY,
    });
    check(&desk, "GET", CREDENTIALS, &with, &served);
    check(&desk, "HEAD", CREDENTIALS, &with, &served);
    let mut without_token = served;
    without_token["notes"] = json!(["v1"]);
    check(&desk, "GET", CREDENTIALS, "", &without_token);
    check(&desk, "GET", "/latest/meta-data/", &with, &json!({ "class": "listing", "status": 200 }));
    let lines = desk.agent.access().unwrap();
    assert!(lines.iter().all(|line| !line.to_string().contains(&token)));
}

#[test]
fn a_refused_request_has_a_line_with_what_was_remarkable() {
    let desk = Desk::new(|_| {});
    let refused = |class: &str, status: u16, notes: &[&str]| json!({ "class": class, "status": status, "notes": notes });
    let other = "/latest/meta-data/iam/security-credentials/billing";
    let wrong = "X-aws-ec2-metadata-token: wrong\r\n";
    check(&desk, "GET", other, "", &refused("role-credentials", 404, &["v1", "wrong role"]));
    check(&desk, "GET", CREDENTIALS, wrong, &refused("role-credentials", 401, &["token invalid"]));
    check(&desk, "GET", "/latest/user-data", "", &refused("guarded", 403, &["v1", "refused"]));
    check(&desk, "GET", "/%zz", "", &refused("malformed", 400, &["malformed"]));
    let forwarded = "X-Forwarded-For: 10.0.0.1\r\n";
    check(&desk, "GET", CREDENTIALS, forwarded, &refused("role-credentials", 403, &["forwarded"]));
    // Methods are the client's words: those that are not known are not repeated.
    let mut other = json!({ "class": "role-credentials", "status": 405 });
    check(&desk, "DELETE", CREDENTIALS, "", &other);
    other["method"] = json!("other");
    check(&desk, "SECRET-METHOD", CREDENTIALS, "", &other);
    let container = json!({
        "door": "container", "class": "container-credentials", "status": 400,
        "notes": ["token invalid"],
    });
    check_at(&desk, desk.container, "GET", "/v2/credentials/secret-id", "", &container);
    let text = fs::read_to_string(desk.agent.plan().access_log()).unwrap();
    assert!(!text.contains("secret-id") && !text.contains("SECRET-METHOD"), "{text}");
}

#[test]
fn without_room_for_the_log_credentials_are_refused() {
    let desk = Desk::new(|log| symlink("/dev/full", log).unwrap());
    for _ in 0..3 {
        // From the first request on; what is no secret is still answered.
        assert_eq!(desk.get(CREDENTIALS, ""), 503);
        assert_eq!(desk.get("/latest/meta-data/iam/info", ""), 503);
        assert_eq!(desk.get("/latest/meta-data/", ""), 200);
    }
    let environment = desk.agent.command(&["environment", "--development"]).unwrap();
    let uri = environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"].as_str().unwrap().to_owned();
    let (_, path) = uri.split_once("4712").unwrap();
    let (status, body) = ask(desk.container, "GET", path, "");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("CredentialsUninitialized") && !body.contains(KEY), "{body}");
    assert!(!desk.writable());
    let said = desk.agent.said();
    let told = "the access log cannot be written (No space left on device (os error 28)): no \
        credentials are given out until it can";
    assert_eq!(said.matches(told).count(), 1, "{said}");
}

/// A pipe without a reader is a log that cannot be written, and a reader can come back.
fn pipe(log: &Path) -> File {
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, log, fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    reading(log)
}

fn reading(pipe: &Path) -> File {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits();
    File::options().read(true).custom_flags(nonblock.cast_signed()).open(pipe).unwrap()
}

#[test]
fn credentials_come_back_with_the_log_and_no_line_is_missing_in_silence() {
    let mut first = None;
    let desk = Desk::new(|log| {
        first = Some(pipe(log));
    });
    assert_eq!(desk.get(CREDENTIALS, ""), 200);
    let mut text = String::new();
    until("the line", || lines_of(first.as_mut().unwrap(), &mut text).len() == 2);
    drop(first);

    assert_eq!(desk.get("/latest/meta-data/", ""), 200);
    until("the failure", || !desk.writable());
    assert_eq!(desk.get(CREDENTIALS, ""), 503);

    let mut second = reading(&desk.agent.plan().access_log());
    until("credentials", || desk.get(CREDENTIALS, "") == 200);
    assert!(desk.writable());
    let mut text = String::new();
    let served = |line: &Value| line["access_key_id"] == KEY;
    until("the lines", || lines_of(&mut second, &mut text).iter().any(served));
    let lines = lines_of(&mut second, &mut text);
    assert_eq!(lines[0]["class"], "listing");
    assert_eq!(lines[1]["status"], 503);
    assert_eq!(lines[1]["notes"], json!(["v1", "unrecorded"]));
    assert!(lines[1]["lease"].is_null(), "{}", lines[1]);
    assert!(desk.agent.said().contains("the access log can be written again"));
}

#[test]
fn what_cannot_be_queued_is_not_given_out_even_if_it_is_the_hosts() {
    let mut reader = None;
    let desk = Desk::new(|log| reader = Some(pipe(log)));
    assert_eq!((desk.get(OF_HOST, ""), desk.get(CREDENTIALS, "")), (200, 200));
    // Nobody reads: the writer waits, without a failure, and the queue fills.
    let mut stream = TcpStream::connect(desk.instance).unwrap();
    let question = format!("GET /latest/ HTTP/1.1\r\nHost: {}\r\n\r\n", desk.instance);
    let mut answers = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
        until("a line without room", || {
            stream.write_all(question.repeat(1000).as_bytes()).unwrap();
            desk.agent.command(&["status"]).unwrap()["log_lines_lost"] != 0
        });
        stream.shutdown(Shutdown::Both).unwrap();
    });
    assert!(desk.writable());
    assert_eq!((desk.get(OF_HOST, ""), desk.get(CREDENTIALS, "")), (503, 503));
    // What is no secret is still answered.
    assert_eq!(desk.get("/latest/meta-data/", ""), 200);
    let reader = reader.as_mut().unwrap();
    let mut text = String::new();
    until("room", || {
        lines_of(reader, &mut text);
        (desk.get(OF_HOST, ""), desk.get(CREDENTIALS, "")) == (200, 200)
    });
}

/// Reads what is there, and returns all whole lines so far.
fn lines_of(pipe: &mut File, text: &mut String) -> Vec<Value> {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut buffer) {
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
