use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use linux::datagrams::{self, Drops, Room};

use crate::stage::{namespace, need};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Everything that is there, as texts.
fn received(socket: &UdpSocket, room: &mut Room) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let each = |bytes: &[u8]| all.push(String::from_utf8(bytes.to_vec()).unwrap());
        match datagrams::receive(socket, room, each) {
            Ok(count) => assert!((1..=64).contains(&count)),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return all;
            }
        }
    }
}

#[test]
fn datagrams_come_whole_and_in_order_however_many_there_are() {
    let socket = need!(datagrams::listen(ANY, 4 << 20));
    let mut drops = Drops::default();
    let sender = UdpSocket::bind(ANY).unwrap();
    let mut sent: Vec<String> = (0..200).map(|number| format!("line {number}")).collect();
    sent.push(String::new());
    sent.push("x".repeat(65_507));
    for text in &sent {
        sender.send_to(text.as_bytes(), socket.local_addr().unwrap()).unwrap();
    }
    let mut room = Room::default();
    assert_eq!(received(&socket, &mut room), sent);
    assert_eq!(received(&socket, &mut room), Vec::<String>::new());
    assert_eq!(drops.since(&socket).unwrap(), 0);
}

#[test]
fn what_the_kernel_drops_is_counted_to_the_unit() {
    let socket = need!(datagrams::listen(ANY, 64 << 10));
    let mut drops = Drops::default();
    let sender = UdpSocket::bind(ANY).unwrap();
    let mut room = Room::default();
    for sent in [1_000, 3_000, 10] {
        for number in 0..sent {
            let text = format!("{number:0458}");
            sender.send_to(text.as_bytes(), socket.local_addr().unwrap()).unwrap();
        }
        let received = received(&socket, &mut room).len() as u64;
        let dropped = drops.since(&socket).unwrap();
        assert_eq!(received + dropped, sent);
        assert_eq!(dropped > 0, sent > 10, "{dropped} of {sent}");
    }
}

#[test]
fn a_socket_of_a_namespace_hears_that_namespace_alone() {
    let (here, there) = (need!(namespace()), need!(namespace()));
    let open = |namespace: &linux::Namespace| {
        namespace.run(|| {
            // Without a loopback that is up there is no address to listen at.
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.unwrap().success());
            datagrams::listen(SocketAddr::new(ANY.ip(), 31_000), 4 << 20)
        })
    };
    let (ours, others) = (open(&here).unwrap().unwrap(), open(&there).unwrap().unwrap());
    here.run(|| {
        let sender = UdpSocket::bind(ANY).unwrap();
        sender.send_to(b"of here", ours.local_addr().unwrap()).unwrap();
    })
    .unwrap();
    let mut room = Room::default();
    assert_eq!(received(&ours, &mut room), ["of here"]);
    assert_eq!(received(&others, &mut room), Vec::<String>::new());
}
