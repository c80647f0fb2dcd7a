//! Many small datagrams, and how many of them there was no room for.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::unix::option;

/// How many datagrams are received with one system call. More gains nothing that can be measured.
const AT_ONCE: usize = 64;
/// The longest datagram of UDP over IPv4, in bytes.
const LONGEST: usize = 65_507;

/// Listens at an address of the namespace that the calling thread is in (see [`Namespace::run`](crate::Namespace::run)),
/// non-blocking, with room for about `room_bytes` bytes.
///
/// A burst that the receiver is too slow for is dropped by the kernel and not told to the sender. With a buffer of the usual
/// 208 KiB half of a busy second can be lost, so more is asked for; without `CAP_NET_ADMIN` it is at most what
/// `net.core.rmem_max` allows. The kernel counts its own bookkeeping as well, about 800 bytes for each datagram.
///
/// # Errors
///
/// The address is in use, or is not there.
pub fn listen(address: SocketAddr, room_bytes: usize) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    if set_socket_recv_buffer_size_force(&socket, room_bytes).is_err() {
        socket2::SockRef::from(&socket).set_recv_buffer_size(room_bytes)?;
    }
    Ok(socket)
}

/// Hands `each` the datagrams that are there, 64 at most, and answers how many there were.
///
/// # Errors
///
/// `WouldBlock` when there are none, and the kernel's.
///
/// [recvmmsg(2)](https://man7.org/linux/man-pages/man2/recvmmsg.2.html)
pub fn receive(
    socket: impl AsFd,
    room: &mut Room,
    mut each: impl FnMut(&[u8]),
) -> io::Result<usize> {
    let received = receive_some(socket.as_fd(), room)?;
    for (bytes, header) in room.bytes.chunks(LONGEST).zip(&room.headers).take(received) {
        let length = usize::try_from(header.msg_len).unwrap_or(LONGEST);
        each(bytes.get(..length).unwrap_or_default());
    }
    Ok(received)
}

/// How many datagrams of a socket the kernel had no room for: the counter that `SO_RXQ_OVFL` puts beside a datagram, read without
/// waiting for one.
#[derive(Debug, Default)]
pub struct Drops {
    /// The kernel's counter when it was last asked. It has 32 bits and goes around.
    seen: u32,
}

impl Drops {
    /// How many there were since this was last asked of the socket, to the unit.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn since(&mut self, socket: impl AsFd) -> io::Result<u64> {
        let counters: [u32; 9] = option(socket.as_fd(), SO_MEMINFO)?;
        let now = counters.get(SK_MEMINFO_DROPS).copied().ok_or(io::ErrorKind::InvalidData)?;
        Ok(now.wrapping_sub(std::mem::replace(&mut self.seen, now)).into())
    }
}

/// Room for the datagrams of one call, 4 MiB. One serves many sockets.
pub struct Room {
    bytes: Vec<u8>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in the headers are set before each call and mean nothing after it.
#[expect(unsafe_code, reason = "headers hold raw pointers, which are not used between calls")]
unsafe impl Send for Room {}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: vec![0; AT_ONCE * LONGEST], headers: Vec::with_capacity(AT_ONCE) }
    }
}

fn receive_some(socket: BorrowedFd<'_>, room: &mut Room) -> io::Result<usize> {
    let mut slices: Vec<IoSliceMut<'_>> =
        room.bytes.chunks_mut(LONGEST).map(IoSliceMut::new).collect();
    room.headers.clear();
    for slice in &mut slices {
        // SAFETY: a header of zeros is a valid one: no name, no buffers, no control data.
        #[expect(unsafe_code, reason = "the type has no other constructor")]
        let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        header.msg_hdr.msg_iov = std::ptr::from_mut(slice).cast();
        header.msg_hdr.msg_iovlen = 1;
        room.headers.push(header);
    }
    let count = libc::c_uint::try_from(room.headers.len()).unwrap_or(0);
    // SAFETY: each header has one slice, which lives through the call and has as many bytes as it says;
    // `IoSliceMut` is laid out as `iovec` by its documentation. There are `count` headers.
    #[expect(unsafe_code, reason = "recvmmsg(2) has no safe form")]
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            room.headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// From `asm-generic/socket.h`, since Linux 4.12.
const SO_MEMINFO: libc::c_int = 55;
/// Where the drops are in it, from `linux/sock_diag.h`.
const SK_MEMINFO_DROPS: usize = 8;
