//! Containers that are told apart by their labels. The engine is a stand-in that replays what podman
//! said of one container; the cgroup, the socket and the namespace are the kernel's.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
};

use practice::{
    host::Plan,
    stage::{Scene, Stage},
};

use crate::{
    caller::{Caller, Resident},
    file::File,
    stage::{name, play_with_cgroups, role_of, until},
};

/// The container of the recorded exchange, whose label `rolecall.application` is `orders`.
const ID: &str = include_str!("../../../../edge/docker/tests/recorded/podman-4.3.1.id");
/// What podman sent for it.
const RECORDED: &[u8] = include_bytes!("../../../../edge/docker/tests/recorded/podman-4.3.1.http");

/// Answers every question with the recorded answer, until the test's process ends.
fn engine(at: &Path) {
    let listener = UnixListener::bind(at).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(&stream)));
}

/// A client that hangs up early has its own reasons.
fn answer(mut stream: &UnixStream) {
    let mut question = Vec::new();
    let mut byte = [0];
    while !question.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        question.push(byte[0]);
    }
    let _ = stream.write_all(RECORDED);
}

/// A container whose label says that it is `orders`, and the place of its engine's socket.
fn container(stage: &mut Stage) -> (Resident, PathBuf) {
    let socket = stage.workspace.folder().join("engine.sock");
    let file = File::new(stage)
        .bind(stage, "orders", "labels = { \"rolecall.application\" = \"orders\" }", "")
        .bind(stage, "billing", "labels = { \"rolecall.application\" = \"billing\" }", "")
        .watching(stage)
        .tables(&format!("[docker]\nsocket = {:?}", socket.display().to_string()));
    file.restart(stage);
    let scope = format!("docker-{}.scope", ID.trim());
    let plan = Plan::new("web").without_link().cgroup(&format!("system.slice/{scope}"));
    let workload = stage.workspace.add(&plan).unwrap();
    let resident = Resident::in_workload(stage, &workload);
    until("the doors", || resident.connect(crate::caller::INSTANCE).is_ok());
    // It stays for as long as the program in it: the private host ends both.
    std::mem::forget(workload);
    (resident, socket)
}

#[test]
fn a_container_known_by_its_labels_gets_its_role() {
    play_with_cgroups(name!(), &Scene::default(), |mut stage| {
        let (resident, socket) = container(&mut stage);
        engine(&socket);
        let (_, answer) = resident.credentials();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let said = stage.agent.command(&["explain", "--pid", &resident.id().to_string()]).unwrap();
        assert_eq!(said["verdict"], "attested", "{said}");
        assert_eq!(said["role"], role_of(&stage, "orders"));
    });
}

#[test]
fn without_its_engine_a_container_is_nobody_and_is_known_once_the_engine_is_back() {
    play_with_cgroups(name!(), &Scene::default(), |mut stage| {
        let (resident, socket) = container(&mut stage);
        assert_eq!(resident.token_status(), 403);
        engine(&socket);
        assert_eq!(resident.credentials().1.status, 200);
        assert_eq!(stage.cloud.sts_calls().unwrap().len(), 1);
    });
}
