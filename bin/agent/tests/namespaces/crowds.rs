//! Many workloads, and many connections that nobody uses.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use practice::stage::{Scene, Stage};
use serde_json::Value;

use crate::{
    caller::{Caller, Guest, INSTANCE, ROLES},
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
        use std::io::Write;
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
