//! The practice host: workloads are apart, reach the cloud's address, and leave nothing behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use practice::clients::{Client, Errand};
use practice::cloud::{Cloud, Layout};
use practice::host::{HostError, Plan, Privilege, Visit, Workspace, within, within_as};
use practice::program::Invocation;
use practice::tools::Tools;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` with a workspace, in a private place; says so where there is none to be had.
#[track_caller]
fn check(name: &str, body: impl FnOnce(Workspace)) {
    match within(name, LIMIT, || body(Workspace::new(&Tools::find()).unwrap())).unwrap() {
        Visit::Done => {}
        Visit::Skipped { why } => println!("skipped: {name}: {why}"),
    }
}

fn shell(script: &str) -> Invocation {
    Invocation::new("sh").args(["-c", script])
}

/// A program in Python that says hello to the cloud's address, and from which address it did.
fn hello(port: u16, from: &str) -> Invocation {
    let source = format!("('{from}', 0)");
    let script = format!(
        "import socket; s = socket.create_connection(('10.77.0.1', {port}), 10, {source}); \
         s.sendall(b'hello'); s.shutdown(1); print(s.getsockname()[0], s.recv(9).decode())"
    );
    Invocation::new("python3").args(["-c", &script])
}

#[test]
fn outside_of_a_private_place_nothing_is_made() {
    assert!(matches!(Workspace::new(&Tools::find()), Err(HostError::Outside)));
}

#[test]
fn each_workload_has_a_namespace_and_an_address_of_its_own() {
    check("each_workload_has_a_namespace_and_an_address_of_its_own", |workspace| {
        let (one, two) = (workspace.workload("one").unwrap(), workspace.workload("two").unwrap());
        let seen = |workload: &practice::host::Workload| {
            let said = workload.run(shell("readlink /proc/self/ns/net"), LIMIT).unwrap().stdout;
            assert_eq!(said.trim(), format!("net:[{}]", workload.namespace_inode().unwrap()));
            said
        };
        assert_ne!(seen(&one), seen(&two));
        assert_ne!(one.address(), two.address());
        assert_eq!(one.namespace(), Some(workspace.namespaces().join("one").as_path()));
    });
}

#[test]
fn a_workload_reaches_the_clouds_address() {
    check("a_workload_reaches_the_clouds_address", |workspace| {
        let listener = TcpListener::bind((workspace.cloud_address(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let one = workspace.workload("one").unwrap();
        let address = one.address().unwrap().to_string();
        let mut client = one.start(hello(port, &address)).unwrap();
        let (mut stream, peer) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(b"you").unwrap();
        drop(stream);
        assert_eq!((text.as_str(), peer.ip().to_string()), ("hello", address.clone()));
        assert_eq!(
            client.wait(LIMIT).unwrap().success().unwrap().stdout,
            format!("{address} you\n")
        );
    });
}

#[test]
fn two_workloads_may_have_the_same_address_and_port() {
    check("two_workloads_may_have_the_same_address_and_port", |workspace| {
        let plan = |name| Plan::new(name).without_link().address("10.77.255.1".parse().unwrap());
        let (one, two) =
            (workspace.add(&plan("one")).unwrap(), workspace.add(&plan("two")).unwrap());
        let script = "import socket, sys; l = socket.create_server(('10.77.255.1', 80)); \
             c = socket.create_connection(('10.77.255.1', 80), 10, ('10.77.255.1', 40000)); \
             print(l.accept()[1], flush=True); sys.stdin.read()";
        let python = Invocation::new("python3").args(["-c", script]);
        let mut running = [one.start(python.clone()).unwrap(), two.start(python).unwrap()];
        for program in &mut running {
            assert_eq!(program.line(LIMIT, |_| true).unwrap(), "('10.77.255.1', 40000)");
        }
    });
}

#[test]
fn a_program_starts_in_its_workloads_cgroup() {
    check("a_program_starts_in_its_workloads_cgroup", |workspace| {
        let Ok(top) = workspace.cgroups().map(Path::to_owned) else {
            return println!("skipped: {}", workspace.cgroups().unwrap_err());
        };
        let unit = workspace
            .add(&Plan::new("unit").on_host().cgroup("system.slice/orders.service"))
            .unwrap();
        let said = unit.run(shell("grep ^0:: /proc/self/cgroup"), LIMIT).unwrap().stdout;
        assert_eq!(said.trim(), format!("0::{}", unit.cgroup().unwrap()));
        assert!(said.contains("/system.slice/orders.service"), "{said}");
        // A process that leaves its process group is still in the cgroup, and ends with the workload.
        let mut running = unit.start(shell("setsid sleep 1000 & echo $!; wait")).unwrap();
        let id = running.line(LIMIT, |_| true).unwrap();
        drop(unit);
        assert!(running.wait(LIMIT).unwrap().signal == Some(9));
        let left = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        assert!(left.is_empty() || left.contains(") Z "), "{left}");
        assert_eq!(folders(&top), 0);
        drop(workspace);
        assert!(!top.exists());
    });
}

/// How many cgroups are directly below one.
fn folders(path: &Path) -> usize {
    fs::read_dir(path)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .count()
}

#[test]
fn nothing_is_left_after_a_panic() {
    check("nothing_is_left_after_a_panic", |workspace| {
        let (folder, namespaces) = (workspace.folder().to_owned(), workspace.namespaces());
        let cgroups = workspace.cgroups().map(Path::to_owned).map_err(str::to_owned);
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let one = workspace.workload("one").unwrap();
            let _running = one.start(shell("sleep 1000")).unwrap();
            assert_eq!(fs::read_dir(namespaces).unwrap().count(), 1);
            panic!("on purpose");
        }));
        assert!(broken.is_err());
        assert!(!folder.exists());
        assert!(cgroups.is_err() || !cgroups.unwrap().exists());
        let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounted.contains(folder.to_str().unwrap()), "{mounted}");
        let links = shell("ip -brief link").run(LIMIT).unwrap().stdout;
        assert_eq!(links.lines().count(), 1, "{links}");
    });
}

#[test]
fn a_client_in_a_workload_works_in_the_practice_cloud() {
    check("a_client_in_a_workload_works_in_the_practice_cloud", |workspace| {
        let tools = Tools::find();
        let layout = Layout::new(workspace.cloud_address(), workspace.folder().join("cloud"));
        let cloud = Cloud::start(&tools, &layout).unwrap();
        let one = workspace.workload("one").unwrap();
        let errand = Errand::new(cloud.endpoint(), &layout.region, workspace.folder()).unwrap();
        let errand = cloud
            .host()
            .environment()
            .into_iter()
            .fold(errand, |errand, (name, value)| errand.env(name, &value));
        let answer = Client::Go.run(&tools, &errand, &|it| one.place(it), LIMIT).unwrap();
        assert_eq!(answer.arn, cloud.host().arn);
        // Without a key it finds none: nothing answers at 169.254.169.254 in there.
        let bare = Errand::new(cloud.endpoint(), &layout.region, workspace.folder()).unwrap();
        let refused =
            Client::Go.run(&tools, &bare, &|it| one.place(it), LIMIT).unwrap_err().to_string();
        assert!(refused.contains("no EC2 IMDS role found"), "{refused}");
    });
}

#[test]
fn a_user_namespace_is_as_good_as_root() {
    let name = "a_user_namespace_is_as_good_as_root";
    let visit = within_as(&Privilege::UserNamespace, name, LIMIT, || {
        let workspace = Workspace::new(&Tools::find()).unwrap();
        let one = workspace.workload("one").unwrap();
        let mapped =
            one.run(shell("cat /proc/self/uid_map; ip -brief address"), LIMIT).unwrap().stdout;
        assert!(mapped.contains(&one.address().unwrap().to_string()), "{mapped}");
        assert!(mapped.lines().next().unwrap().ends_with(" 1"), "{mapped}");
    });
    if let Visit::Skipped { why } = visit.unwrap() {
        println!("skipped: {name}: {why}");
    }
}

#[test]
fn two_hundred_workloads_fit() {
    check("two_hundred_workloads_fit", |workspace| {
        let made: Vec<_> = (0..200)
            .map(|number| workspace.add(&Plan::new(&format!("w{number}")).without_link()).unwrap())
            .collect();
        let inodes: std::collections::BTreeSet<_> =
            made.iter().map(|it| it.namespace_inode().unwrap()).collect();
        assert_eq!(inodes.len(), 200);
    });
}

#[test]
fn a_name_that_would_leave_its_folder_is_refused() {
    check("a_name_that_would_leave_its_folder_is_refused", |workspace| {
        for name in ["", "..", "a/b", "a b"] {
            assert!(matches!(workspace.workload(name), Err(HostError::Name { .. })), "{name}");
        }
    });
}
