//! Many workloads, and many connections that nobody uses.

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use agent::{
    budget::{CALLER_MAX, TOTAL_MAX},
    serve::{HEAD_MAX, WRITE_TIMEOUT},
};
use practice::stage::{Scene, Stage};
use serde_json::Value;

use crate::{
    caller::{CONTAINER, Caller, Guest, INSTANCE, POD_IDENTITY, ROLES},
    stage::{calls_for, guest, name, play, role_of, until},
};

/// Applications, and instances of each: two hundred workloads.
const APPLICATIONS: usize = 20;
const INSTANCES: usize = 10;

#[test]
fn two_hundred_workloads_get_a_role_each() {
    let names: Vec<String> = (0..APPLICATIONS).map(|number| format!("app{number:02}")).collect();
    let scene = Scene::default().applications(names.clone());
    play(name!(), &scene, |stage| {
        let guests: Vec<(&String, Guest)> = (0..APPLICATIONS * INSTANCES)
            .map(|n| (&names[n % APPLICATIONS], n / APPLICATIONS))
            .map(|(name, instance)| (name, guest(&stage, &format!("{name}-{instance}"))))
            .collect();
        let asking = |half: &[(&String, Guest)]| {
            let ask = |(name, guest): &(&String, Guest)| {
                let (role, answer) = guest.credentials();
                assert_eq!(&role, *name);
                answer.key()
            };
            half.iter().map(ask).collect::<Vec<String>>()
        };
        let keys: Vec<String> = thread::scope(|scope| {
            let asking: Vec<_> =
                guests.chunks(50).map(|part| scope.spawn(move || asking(part))).collect();
            asking.into_iter().flat_map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), guests.len());
        for name in &names {
            assert_eq!(calls_for(&stage, &role_of(&stage, name)), INSTANCES, "{name}");
        }
        served_as_recorded(&stage, &guests);
    });
}

/// Each key was served to one workload alone, with the role of its own application.
fn served_as_recorded(stage: &Stage, guests: &[(&String, Guest)]) {
    let served = || -> Vec<Value> {
        let lines = stage.agent.access().unwrap();
        lines.into_iter().filter(|line| line["access_key_id"].is_string()).collect()
    };
    until("the records", || served().len() >= guests.len());
    let lines = served();
    for (name, guest) in guests {
        let id = format!("{name}/practice/{}", guest.name());
        let mine: Vec<_> = lines.iter().filter(|line| line["workload"] == id).collect();
        assert!(!mine.is_empty(), "{id}");
        assert!(mine.iter().all(|line| line["role"] == role_of(stage, name)), "{id}");
        let key = &mine[0]["access_key_id"];
        let others = lines.iter().filter(|line| &line["access_key_id"] == key);
        assert!(others.into_iter().all(|line| line["workload"] == id), "{id}");
    }
}

/// What a process holds of the machine.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    memory_kib: u64,
}

fn held(stage: &Stage) -> Held {
    let process = format!("/proc/{}", stage.agent.id().unwrap());
    let count = |folder: &str| fs::read_dir(format!("{process}/{folder}")).unwrap().count();
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Held {
        descriptors: count("fd"),
        threads: count("task"),
        memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

/// How many each of four crowds holds open at once: together fewer than a door takes.
const TOGETHER: usize = 200;

/// Opens `many` connections and lets go of them: untouched, or in the middle of a request.
fn abandon(guest: &Guest, many: usize) {
    const BEGUN: [&str; 3] = ["", "G", "GET /latest/meta-data/ HTTP/1.1\r\nHost: 169."];
    let open = |number: usize| {
        let mut stream = guest.connect(INSTANCE).unwrap();
        stream.write_all(BEGUN[number % BEGUN.len()].as_bytes()).unwrap();
        if number.is_multiple_of(2) {
            // Those end with a reset instead of a goodbye.
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
        stream
    };
    for chunk in (0..many).collect::<Vec<_>>().chunks(TOGETHER) {
        let streams: Vec<_> = chunk.iter().map(|&number| open(number)).collect();
        drop(streams);
    }
}

#[test]
fn ten_thousand_abandoned_connections_leave_nothing_behind() {
    play(name!(), &Scene::default(), |stage| {
        let (orders, billing) = (guest(&stage, "orders"), guest(&stage, "billing"));
        let key = orders.credentials().1.key();
        let mut neighbour = billing.line();
        let token = neighbour.token();
        let open = held(&stage).descriptors;
        let mut crowd = |each: usize| {
            thread::scope(|scope| {
                let crowds: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| abandon(&orders, each))).collect();
                // A neighbour does not notice, whatever the crowd does.
                while !crowds.iter().all(thread::ScopedJoinHandle::is_finished) {
                    let asked = Instant::now();
                    assert_eq!(neighbour.get(ROLES, &token).body, "billing");
                    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
                }
            });
            until("the end of the connections", || held(&stage).descriptors <= open);
            held(&stage)
        };
        // Once before, so that buffers and the allocator's own pools have their size.
        let (before, after) = (crowd(2_000), crowd(2_500));
        assert!(after.threads <= before.threads, "{before:?} {after:?}");
        // A kilobyte for each would be more; below that, how many met at once makes the difference.
        assert!(after.memory_kib <= before.memory_kib + 8 * 1024, "{before:?} {after:?}");
        assert_eq!(orders.credentials().1.key(), key);
    });
}

/// What the agent says of its connections: how many are open, and how many it refused.
fn counted(stage: &Stage) -> (u64, u64) {
    let status = stage.agent.command(&["status"]).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    (number(&status["connections"]["open"]), number(&status["counters"]["over_budget"]))
}

/// Whether the other end has closed it.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 64]);
    !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// A caller opens more connections than it may, over three doors, and the others are closed at once.
#[track_caller]
fn check_crowd(stage: &Stage, crowd: &Guest, neighbour: &Guest) {
    const TOO_MANY: usize = 88;
    let (_, before) = counted(stage);
    until("the end of what was before", || counted(stage).0 == 0);
    let doors = [INSTANCE, CONTAINER, POD_IDENTITY].into_iter().cycle();
    let open = doors.take(CALLER_MAX + TOO_MANY).map(|door| crowd.connect(door).unwrap());
    let streams: Vec<_> = open.collect();
    let wanted = (CALLER_MAX as u64, before + TOO_MANY as u64);
    until("the budget", || counted(stage) == wanted);
    let closed = streams.iter().filter(|stream| is_closed(stream)).count();
    assert_eq!(closed, TOO_MANY, "{}", crowd.name());
    // Those who hold nothing do not notice.
    neighbour.credentials().1.key();
    drop(streams);
    until("room for the next", || counted(stage).0 == 0);
}

#[test]
fn what_one_caller_holds_over_all_doors_is_bounded() {
    play(name!(), &Scene::default(), |stage| {
        let (orders, nobody) = (guest(&stage, "orders"), guest(&stage, "nobody"));
        assert_eq!((orders.token_status(), nobody.token_status()), (200, 403));
        let billing = guest(&stage, "billing");
        check_crowd(&stage, &orders, &billing);
        check_crowd(&stage, &nobody, &billing);
        let notes = &stage.agent.command(&["status"]).unwrap()["counters"]["notes"];
        assert_eq!(notes["orders/practice/orders"]["over budget"], 88);
        orders.credentials().1.key();
    });
}

/// Asks as long as the agent takes questions, and reads no answer.
fn ask_without_reading(stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let question = "GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n".repeat(64);
    let begun = Instant::now();
    let mut blocked = None;
    // It is blocked when nothing went out for a while.
    while blocked.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(300)) {
        match stream.write(question.as_bytes()) {
            Ok(_) => blocked = None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                blocked.get_or_insert_with(Instant::now);
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(begun.elapsed() < WRITE_TIMEOUT, "the agent takes questions without an end");
    }
}

#[test]
fn a_client_that_never_reads_its_answers_is_let_go() {
    play(name!(), &Scene::default(), |stage| {
        let orders = guest(&stage, "orders");
        until("the end of what was before", || counted(&stage).0 == 0);
        let mut stream = orders.connect(INSTANCE).unwrap();
        ask_without_reading(&mut stream);
        assert_eq!(counted(&stage).0, 1);
        until("the end of its patience", || counted(&stage).0 == 0);
        let status = stage.agent.command(&["status"]).unwrap();
        assert_eq!(status["counters"]["broken_connections"], 1);
        orders.credentials().1.key();
    });
}

/// What the agent may use of the unit's `MemoryMax=256M`. The kernel's buffers of as many connections
/// are no more than 64 MiB.
const MEMORY_KIB_MAX: u64 = 176 * 1024;

/// Lets so many callers hold all the connections that they may, each in the same expensive way, and
/// looks how much memory that takes at the most until the agent lets go of them by itself.
#[track_caller]
fn check_memory(test: &str, callers: usize, question: fn(&str) -> String) {
    play(test, &Scene::default(), |stage| {
        linux::raise_open_files().unwrap();
        let each = |number| guest(&stage, &format!("orders-{number}"));
        let crowds: Vec<Guest> = (0..callers).map(each).collect();
        let late = guest(&stage, "billing");
        crowds.iter().for_each(|guest| drop(guest.credentials().1.key()));
        let questions: Vec<_> = crowds.iter().map(|guest| question(&guest.token())).collect();
        until("the end of what was before", || counted(&stage).0 == 0);
        let before = peak_kib(&stage);
        let streams: Vec<TcpStream> = thread::scope(|scope| {
            let crowds = crowds.iter().zip(&questions);
            let crowds: Vec<_> =
                crowds.map(|(it, asks)| scope.spawn(|| hold_all(it, asks))).collect();
            crowds.into_iter().flat_map(|crowd| crowd.join().unwrap()).collect()
        });
        until("all of them", || counted(&stage) == (streams.len() as u64, 0));
        // Whoever comes then may have to wait, and is not refused.
        assert_eq!(late.line().ask("GET", "/latest/", &[]).unwrap().status, 401);
        until("the end of the agent's patience", || counted(&stage).0 == 0);
        let each_bytes = (peak_kib(&stage) - before) * 1024 / streams.len() as u64;
        let whole_kib = before + each_bytes * TOTAL_MAX as u64 / 1024;
        println!("{each_bytes} bytes for each connection, {whole_kib} KiB for all");
        assert!(whole_kib < MEMORY_KIB_MAX, "{before} {each_bytes} {whole_kib}");
    });
}

/// The most memory that the agent ever used.
fn peak_kib(stage: &Stage) -> u64 {
    let status = format!("/proc/{}/status", stage.agent.id().unwrap());
    let status = fs::read_to_string(status).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Opens as many connections as a caller may, sends the same on each of them and reads nothing.
fn hold_all(guest: &Guest, question: &str) -> Vec<TcpStream> {
    let hold = |_| {
        let mut stream = guest.connect(INSTANCE).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 2048).unwrap();
        stream.set_nonblocking(true).unwrap();
        // The agent takes what it can.
        let _ = stream.write(question.as_bytes()).unwrap();
        stream
    };
    (0..CALLER_MAX).map(hold).collect()
}

#[test]
fn all_connections_amid_a_long_head_fit_the_memory_limit() {
    let callers = TOTAL_MAX / CALLER_MAX;
    check_memory(name!(), callers, |_| format!("{:x<1$}", "GET / HTTP/1.1\r\nX: ", HEAD_MAX - 1));
}

#[test]
fn all_connections_whose_answers_nobody_reads_fit_the_memory_limit() {
    // Each costs a lot of work as well, so one caller's are taken for all.
    check_memory(name!(), 1, |token| {
        let question = format!(
            "GET {ROLES}orders HTTP/1.1\r\nHost: 169.254.169.254\r\n\
             X-aws-ec2-metadata-token: {token}\r\n\r\n"
        );
        question.repeat(200)
    });
}
