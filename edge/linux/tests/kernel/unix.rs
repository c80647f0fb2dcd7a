use std::{
    fs::File,
    io,
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    os::unix::{
        fs::MetadataExt,
        net::{UnixListener, UnixStream},
    },
};

use linux::{
    Namespace, NamespaceError, ProcessError,
    unix::{self, PeerError},
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::stage::{Folder, Program, accept, namespace, need, readable};

#[test]
fn the_peer_of_a_unix_socket_is_its_process() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let peer = unix::peer(&ours).unwrap();
    let me = rustix::process::getuid().as_raw();
    assert_eq!((peer.pid, peer.uid), (Some(std::process::id()), me));
    assert_eq!(unix::peer_process(&ours).unwrap().pid(), std::process::id());
}

#[test]
fn a_tcp_socket_has_no_peer_credentials_although_the_kernel_reports_some() {
    let listener = need!(TcpListener::bind("127.0.0.1:0"));
    let client = need!(TcpStream::connect(listener.local_addr().unwrap()));
    let (accepted, _) = accept(&listener);
    for socket in [client, accepted] {
        assert!(matches!(unix::peer(&socket), Err(PeerError::NotUnix)));
        assert!(matches!(unix::peer_process(&socket), Err(PeerError::NotUnix)));
    }
    assert!(matches!(unix::peer(File::open("/dev/null").unwrap()), Err(PeerError::NotUnix)));
}

#[test]
fn a_peer_that_ended_is_gone_although_its_number_was_recorded() {
    let folder = Folder::new();
    let path = folder.0.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  s.recv(1)";
    let mut client =
        need!(std::process::Command::new("python3").args(["-c", script]).arg(&path).spawn());
    assert!(readable(&listener));
    let (accepted, _) = listener.accept().unwrap();
    let number = unix::peer(&accepted).unwrap().pid.unwrap();
    assert!(unix::peer_process(&accepted).unwrap().is_alive());
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(readable(&accepted));
    assert_eq!(unix::peer(&accepted).unwrap().pid, Some(number));
    let error = unix::peer_process(&accepted).unwrap_err();
    assert!(matches!(error, PeerError::Process(ProcessError::Gone(_))), "{error}");
}

#[test]
fn a_namespace_travels_through_a_unix_socket() {
    let sent = need!(namespace());
    let (here, there) = UnixStream::pair().unwrap();
    assert_eq!(unix::send(&here, b"web", sent.as_fd()).unwrap(), 3);
    let mut buffer = [0; 64];
    let (length, fd) = unix::receive(&there, &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"web");
    let received = Namespace::from_fd(fd.unwrap(), "web").unwrap();
    assert_eq!(received.inode(), sent.inode());
    received.run(|| ()).unwrap();
}

#[test]
fn a_descriptor_of_anything_else_is_refused() {
    let (here, there) = UnixStream::pair().unwrap();
    let file = File::open("/proc/self/ns/pid").unwrap();
    unix::send(&here, b"x", file.as_fd()).unwrap();
    let (_, fd) = unix::receive(&there, &mut [0; 8]).unwrap();
    let error = Namespace::from_fd(fd.unwrap(), "web").unwrap_err();
    assert!(matches!(error, NamespaceError::NotOne(_)), "{error}");
}

#[test]
fn bytes_without_a_descriptor_are_just_bytes() {
    let (mut here, there) = UnixStream::pair().unwrap();
    io::Write::write_all(&mut here, b"x").unwrap();
    assert!(matches!(unix::receive(&there, &mut [0; 8]), Ok((1, None))));
}

#[test]
fn an_empty_non_blocking_socket_says_so() {
    let (_here, there) = UnixStream::pair().unwrap();
    there.set_nonblocking(true).unwrap();
    let error = unix::receive(&there, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn more_than_one_descriptor_is_refused_and_none_is_kept() {
    let (here, there) = UnixStream::pair().unwrap();
    let folder = Folder::new();
    let path = folder.0.join("file");
    let files: Vec<File> = (0..2).map(|_| File::create(&path).unwrap()).collect();
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&here, &[io::IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    drop(fds);
    drop(files);
    let error = unix::receive(&there, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let inode = std::fs::metadata(&path).unwrap().ino();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let kept = open.filter(|fd| std::fs::metadata(fd.path()).is_ok_and(|data| data.ino() == inode));
    assert_eq!(kept.count(), 0);
}

#[test]
fn a_program_started_in_a_namespace_is_in_it() {
    let namespace = need!(namespace());
    let mut program = Program::start(&namespace);
    let said = program.tell("readlink /proc/self/ns/net");
    assert_eq!(said.trim(), format!("net:[{}]", namespace.inode()));
}
