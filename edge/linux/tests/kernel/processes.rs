use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use linux::{Process, ProcessError};

use crate::stage::{Cgroup, Folder, NOBODY, Program, namespace, need};

#[test]
fn a_process_is_described_from_outside() {
    let namespace = need!(namespace());
    let cgroup = need!(Cgroup::new());
    let program = need!(Program::start_unprivileged(&namespace));
    cgroup.add(program.pid());
    let process = Process::open(program.pid()).unwrap();
    assert_eq!(process.cgroup().unwrap(), cgroup.path);
    assert_eq!(process.uid().unwrap(), NOBODY);
    assert_eq!(process.namespace_inode().unwrap(), namespace.inode());
    assert!(process.is_alive());
}

#[test]
fn a_process_that_ended_is_not_alive_although_nobody_reaped_it() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let process = Process::open(child.id()).unwrap();
    assert!(process.is_alive());
    // Without input it ends. Waiting for that through the pidfd does not reap it.
    drop(child.stdin.take());
    let pidfd = rustix::process::pidfd_open(
        rustix::process::Pid::from_child(&child),
        rustix::process::PidfdFlags::empty(),
    );
    assert!(crate::stage::readable(pidfd.unwrap()));
    assert!(!process.is_alive());
    assert!(matches!(Process::open(child.id()), Err(ProcessError::Gone(_))));
    child.wait().unwrap();
}

#[test]
fn a_number_that_is_used_again_does_not_become_the_old_process() {
    let mut first = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let old = Process::open(first.id()).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();

    // Others start processes too, so the number may be taken by one of theirs: then once more.
    let number = first.id();
    for _ in 0..500 {
        need!(fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()));
        let mut second = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let reused = second.id() == number;
        if reused {
            assert!(!old.is_alive());
            assert!(matches!(old.cgroup(), Err(ProcessError::Gone(_))));
            assert!(matches!(old.uid(), Err(ProcessError::Gone(_))));
            assert!(matches!(old.namespace_inode(), Err(ProcessError::Gone(_))));
            assert!(Process::open(number).unwrap().is_alive());
        }
        second.kill().unwrap();
        second.wait().unwrap();
        if reused {
            return;
        }
    }
    panic!("number {number} was never given out again");
}

#[test]
fn what_a_process_mounts_over_its_own_proc_is_not_believed() {
    let cgroup = need!(Cgroup::new());
    need!(namespace());
    let folder = Folder::new();
    let lie = folder.0.join("lie");
    fs::write(&lie, "0::/somebody/else\n").unwrap();
    let script =
        format!("mount --bind {} /proc/$$/cgroup; cat /proc/$$/cgroup; cat", lie.display());
    let mut child = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    cgroup.add(child.id());
    let mut seen = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut seen).unwrap();
    assert_eq!(seen, "0::/somebody/else\n");
    assert_eq!(Process::open(child.id()).unwrap().cgroup().unwrap(), cgroup.path);
    child.kill().unwrap();
    child.wait().unwrap();
}
