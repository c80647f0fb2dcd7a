use std::{collections::BTreeSet, fs::File, net::TcpStream};

use linux::{
    Diag, DoorAddress, Listeners, Namespace, NamespaceError, Plan, ProcessError, raise_open_files,
};

use crate::stage::{Folder, Program, accept, door, namespace, need};

fn inode_here() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}

#[test]
fn work_runs_inside_and_the_calling_thread_stays_where_it_was() {
    let namespace = need!(namespace());
    let before = inode_here();
    assert_eq!(namespace.run(inode_here).unwrap(), namespace.inode());
    assert_eq!(inode_here(), before);
    assert_ne!(namespace.inode(), before);
    assert!(!namespace.is_own().unwrap());
}

#[test]
fn a_panic_inside_reaches_the_caller_and_moves_no_thread() {
    let namespace = need!(namespace());
    let result = std::panic::catch_unwind(|| namespace.run(|| panic!("inside")));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "inside");
    assert_ne!(inode_here(), namespace.inode());
}

#[test]
fn a_namespace_is_the_same_by_path_by_process_and_by_descriptor() {
    let made = need!(namespace());
    let folder = Folder::new();
    let path = folder.0.join("web");
    need!(made.mount(&path));
    let program = Program::start(&made);

    let by_path = Namespace::open(&path).unwrap();
    assert_eq!((by_path.name(), by_path.inode()), ("web", made.inode()));
    let by_process = Namespace::of(program.pid()).unwrap();
    assert_eq!(by_process.inode(), made.inode());
    assert_eq!(by_process.name(), format!("pid-{}", program.pid()));
    let by_fd = Namespace::from_fd(File::open(&path).unwrap().into(), "sent").unwrap();
    assert_eq!((by_fd.name(), by_fd.inode()), ("sent", made.inode()));
}

#[test]
fn what_is_no_network_namespace_is_refused() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    std::fs::write(&file, "").unwrap();
    for path in [&*file, "/proc/self/ns/mnt".as_ref(), "/dev/null".as_ref()] {
        assert!(matches!(Namespace::open(path), Err(NamespaceError::NotOne(_))), "{path:?}");
    }
    let error = Namespace::open(folder.0.join("absent")).unwrap_err();
    assert!(matches!(error, NamespaceError::Open { .. }), "{error}");
}

#[test]
fn the_namespace_of_a_process_that_ended_is_gone() {
    let namespace = need!(namespace());
    let mut program = Program::start(&namespace);
    program.kill();
    let error = Namespace::of(program.pid()).unwrap_err();
    assert!(matches!(error, NamespaceError::Process(ProcessError::Gone(_))), "{error}");
}

#[test]
fn two_hundred_namespaces_are_served_side_by_side() {
    need!(namespace());
    raise_open_files().unwrap();
    let served: Vec<_> = (0..200)
        .map(|_| {
            let namespace = namespace().unwrap();
            let mut doors = Listeners::open(&namespace, &Plan::default()).unwrap();
            let sockets = doors.take();
            let diag = Diag::open(&namespace).unwrap();
            (namespace, doors, sockets, diag)
        })
        .collect();

    let mut cookies = BTreeSet::new();
    for (namespace, _, sockets, diag) in &served {
        let to = DoorAddress::InstanceV4;
        let client = namespace.run(|| TcpStream::connect((to.ip(), 80)).unwrap()).unwrap();
        let (stream, from) = accept(door(sockets, to));
        assert_eq!(from, client.local_addr().unwrap());
        let facts = diag.lookup(from, stream.local_addr().unwrap()).unwrap();
        cookies.insert(facts.cookie);
    }
    assert_eq!(cookies.len(), 200);
}
