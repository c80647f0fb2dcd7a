//! What goes wrong around the recording of calls costs what is counted, and no more.

use std::{
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process::Command,
    time::Duration,
};

use practice::host::{Visit, within};

use crate::{
    alone::{Alone, list, monitored, names},
    stage::{name, of_kind, recorded, status, until},
};

const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn what_was_stored_outlives_an_agent_that_is_killed_and_the_next_one_says_that_it_was() {
    let mut alone = Alone::start("count_s = 1", |_| {});
    alone.say(&["one".to_owned(), "two".to_owned()].map(|bucket| list(&bucket)));
    alone.settled(2);
    alone.agent.kill().unwrap();
    alone.agent.resume().unwrap();
    assert_eq!(alone.buckets(), ["one", "two"]);
    alone.say(&[list("three")]);
    let crashes = until("the crash is told of", || {
        let entries = recorded(&alone.agent);
        let told = of_kind(&entries, "covered").into_iter();
        told.map(|one| one["crashes"].as_u64().unwrap()).max().filter(|crashes| *crashes > 0)
    });
    assert_eq!(crashes, 1);
    until("the third is there", || (alone.buckets() == ["one", "two", "three"]).then_some(()));

    // One that is stopped tells what it holds, and leaves nothing to be told of.
    let mut stream = alone.connect();
    let repeats = [list("three"), list("three"), String::new()].join("\n");
    std::io::Write::write_all(&mut stream, repeats.as_bytes()).unwrap();
    until("they were heard", || (status(&alone.agent)["coverage"]["sent"] == 3).then_some(()));
    alone.agent.stop().unwrap();
    alone.agent.resume().unwrap();
    let entries = recorded(&alone.agent);
    let calls = of_kind(&entries, "calls").into_iter().map(|one| one["count"].as_u64().unwrap());
    assert_eq!(calls.sum::<u64>(), 5);
    until("a later run tells of coverage", || {
        alone.say(&[list("four")]);
        let entries = recorded(&alone.agent);
        let told = of_kind(&entries, "covered").into_iter().map(|one| &one["crashes"]);
        let told: Vec<_> = told.skip_while(|crashes| **crashes != 1).skip(1).collect();
        (told.len() > 1).then(|| assert!(told.iter().all(|crashes| **crashes == 0), "{told:?}"))
    });
}

/// A file system of this size in the place of the agent's folder of data.
fn small_disk(folder: &Path, kib: u32) {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let size = format!("size={kib}k,mode=700");
    let mut mount = Command::new("mount");
    let mounted = mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(&data).status();
    assert!(mounted.unwrap().success());
}

#[test]
fn a_full_disk_costs_calls_that_are_counted_and_ends_when_there_is_room() {
    let test = || {
        let alone = Alone::start("spool_mib = 64\nlines_per_second = 1000000", |folder| {
            small_disk(folder, 1024);
        });
        let lines: Vec<_> = names(20_000).iter().map(|name| list(name)).collect();
        alone.say(&lines);
        let status = alone.settled(20_000);
        let lost = status["coverage"]["lost"]["disk-refused"].as_u64().unwrap();
        let stored = status["coverage"]["stored"].as_u64().unwrap();
        assert_eq!(lost + stored, 20_000, "{status:#}");
        assert!(stored > 1_000, "{status:#}");
        assert!(status["spool"]["fault"].as_str().unwrap().contains("No space left"), "{status:#}");
        assert!(alone.agent.said().contains("calls are being lost, and counted"));

        let data = alone.agent.plan().data();
        let mut grow = Command::new("mount");
        assert!(grow.args(["-o", "remount,size=64m"]).arg(data).status().unwrap().success());
        until("the disk takes calls again", || {
            alone.say(&[list("after")]);
            alone.buckets().contains(&"after".to_owned()).then_some(())
        });
        assert_eq!(status_fault(&alone), serde_json::Value::Null);
    };
    match within(name!(), LIMIT, test).unwrap() {
        Visit::Done => {}
        Visit::Skipped { why } => println!("skipped: {why}"),
    }
}

fn status_fault(alone: &Alone) -> serde_json::Value {
    status(&alone.agent)["spool"]["fault"].clone()
}

#[test]
fn a_flood_of_different_calls_takes_a_bounded_room_and_each_is_accounted_for() {
    let alone = Alone::start("table_mib = 4\nlines_per_second = 1000000", |_| {});
    let before = alone.memory_mib();
    let lines: Vec<_> = names(60_000).iter().map(|name| list(name)).collect();
    alone.say(&lines);
    let status = alone.settled(60_000);
    let grown = alone.memory_mib().saturating_sub(before);
    assert!(grown < 100, "{grown} MiB more than the {before} at the start");
    assert_eq!(status["coverage"]["lost"], serde_json::json!({}), "{status:#}");
    assert_eq!(status["coverage"]["stored"], 60_000, "{status:#}");
    assert!(status["table"]["keys"].as_u64() < Some(4096), "{status:#}");
}

#[test]
fn datagrams_that_come_faster_than_they_are_read_are_counted_to_the_unit() {
    let alone = Alone::start("lines_per_second = 20000", |_| {});
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let datagram = monitored();
    for _ in 0..50_000 {
        // A send can be refused for a moment; then it was not sent.
        while socket.send_to(datagram.as_bytes(), (Ipv4Addr::LOCALHOST, alone.port)).is_err() {}
    }
    let status = until("all datagrams are accounted for", || {
        let status = status(&alone.agent);
        assert_eq!(status["coverage"]["adds_up"], true, "{status:#}");
        (status["coverage"]["sent"] == 50_000).then_some(status)
    });
    assert!(status["coverage"]["lost"]["kernel-drop"].as_u64() > Some(0), "{status:#}");
}

#[test]
fn without_a_server_the_oldest_calls_make_room_and_no_new_one_is_lost() {
    let alone = Alone::start("spool_mib = 16\nlines_per_second = 1000000\ntable_mib = 1", |_| {});
    let names = names(140_000);
    let lines: Vec<_> = names.iter().map(|name| list(name)).collect();
    alone.say(&lines);
    let status = alone.settled(140_000);
    assert_eq!(status["coverage"]["lost"], serde_json::json!({}), "{status:#}");
    assert!(status["spool"]["watermark"].as_u64() > Some(1), "{status:#}");
    assert!(status["spool"]["bytes"].as_u64() < Some(16 << 20), "{status:#}");
    let last = status["spool"]["next"].as_u64().unwrap() - 1;
    assert_eq!(alone.buckets_from(last).last(), names.last());
}

#[test]
fn a_stream_that_is_cut_off_and_lines_that_are_none_are_counted_by_reason() {
    let alone = Alone::start("count_s = 1", |_| {});
    let hello = r#"{"Version":2,"Type":"Hello","Language":"python","Sdk":"botocore","SdkVersion":"1","Shim":"1"}"#;
    let bye = r#"{"Version":2,"Type":"Bye","Lost":{"full":5}}"#;
    alone.say(&[hello.to_owned(), list("a"), "nonsense".to_owned(), "y".repeat(9000)]);
    alone.say(&[hello.to_owned(), list("b"), bye.to_owned()]);
    // 2 calls, 2 lines that are none, 5 that the shim lost.
    let status = alone.settled(9);
    assert_eq!(status["refused"], serde_json::json!({ "not-json": 1, "too-long": 1 }));
    assert_eq!(status["coverage"]["lost"], serde_json::json!({ "malformed": 2, "shim-full": 5 }));
    assert_eq!(status["shims"], serde_json::json!({ "python botocore": 2 }));
    let cut_off = until("coverage is told of", || {
        let entries = recorded(&alone.agent);
        let told = of_kind(&entries, "covered").into_iter();
        let cut_off: u64 = told.map(|one| one["cut_off"].as_u64().unwrap()).sum();
        (cut_off > 0).then_some(cut_off)
    });
    assert_eq!(cut_off, 1);
}
