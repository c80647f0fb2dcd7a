//! Unix sockets: who is at the other end, and descriptors that travel.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
        sockopt::socket_domain,
    },
};

use crate::process::{Process, ProcessError};

/// The process that connected a unix socket, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process's number; `None` when it is in a PID namespace that we cannot see.
    pub pid: Option<u32>,
    /// The process's effective user.
    pub uid: u32,
    /// The process's effective group.
    pub gid: u32,
}

/// Why the peer is not known.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The question makes sense for unix sockets alone: for TCP the kernel answers it with nonsense.
    #[error("only a unix socket has a known peer")]
    NotUnix,
    /// The peer's process cannot be seen from here.
    #[error("the peer is in another PID namespace; run the agent in the host's")]
    Hidden,
    /// The peer's process ended.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The kernel refused.
    #[error("cannot ask who connected: {0}")]
    Refused(#[from] io::Error),
}

/// Who connected this socket. The kernel recorded it then; a process that the socket was passed to
/// does not show.
///
/// # Errors
///
/// [`NotUnix`](PeerError::NotUnix) for any other socket. For TCP the kernel *succeeds*, and reports
/// process 0 and user 4294967295.
///
/// [unix(7), SO_PEERCRED](https://man7.org/linux/man-pages/man7/unix.7.html)
pub fn peer(socket: impl AsFd) -> Result<Peer, PeerError> {
    let socket = unix(&socket)?;
    let credentials: libc::ucred = option(socket, libc::SO_PEERCRED)?;
    Ok(Peer {
        pid: u32::try_from(credentials.pid).ok().filter(|pid| *pid != 0),
        uid: credentials.uid,
        gid: credentials.gid,
    })
}

/// Takes hold of the process that connected this socket. From Linux 6.5 on, a process that ended and
/// whose number was given to another cannot be confused with it.
///
/// # Errors
///
/// [`Process`](PeerError::Process) when it ended.
pub fn peer_process(socket: impl AsFd) -> Result<Process, PeerError> {
    let pid = peer(&socket)?.pid.ok_or(PeerError::Hidden)?;
    match option::<libc::c_int>(socket.as_fd(), SO_PEERPIDFD) {
        Ok(fd) => {
            // SAFETY: the kernel just made this descriptor for us, and nobody else knows it.
            #[expect(unsafe_code, reason = "the descriptor must get an owner")]
            let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
            Ok(Process::hold(pid, pidfd)?)
        }
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOPROTOOPT) => Ok(Process::open(pid)?),
            // The process ended and was reaped: there is nothing left to refer to.
            Some(Errno::SRCH | Errno::INVAL | Errno::NODATA) => Err(ProcessError::Gone(pid).into()),
            _ => Err(error.into()),
        },
    }
}

/// Sends `bytes` together with a descriptor.
///
/// # Errors
///
/// The kernel's, `WouldBlock` for a non-blocking socket among them. A short write sends the descriptor
/// with the first bytes.
///
/// [unix(7), SCM_RIGHTS](https://man7.org/linux/man-pages/man7/unix.7.html)
pub fn send(socket: impl AsFd, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives bytes, and the one descriptor that may come with them.
///
/// # Errors
///
/// The kernel's, `WouldBlock` among them; `InvalidData` when there was more than one descriptor: all
/// of them are closed.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;

    let mut fds = Vec::new();
    for control in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = control {
            fds.extend(received);
        }
    }
    let cut = message.flags.contains(ReturnFlags::CTRUNC);
    if cut || fds.len() > 1 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "more than one descriptor was sent",
        ));
    }
    Ok((message.bytes, fds.pop()))
}

fn unix<Fd: AsFd>(socket: &Fd) -> Result<BorrowedFd<'_>, PeerError> {
    match socket_domain(socket) {
        Ok(AddressFamily::UNIX) => Ok(socket.as_fd()),
        Ok(_) | Err(Errno::NOTSOCK) => Err(PeerError::NotUnix),
        Err(errno) => Err(PeerError::Refused(errno.into())),
    }
}

/// Types that any bytes from the kernel make a valid value of.
pub(crate) trait Plain: Copy {
    const ZERO: Self;
}

impl Plain for libc::ucred {
    const ZERO: Self = Self { pid: 0, uid: 0, gid: 0 };
}

impl Plain for libc::c_int {
    const ZERO: Self = 0;
}

impl Plain for [u32; 9] {
    const ZERO: Self = [0; 9];
}

/// Reads a socket option. A library's safe form of `SO_PEERCRED` takes the process's number for
/// something that is never zero, which it is for a peer in a PID namespace that we cannot see.
pub(crate) fn option<T: Plain>(socket: BorrowedFd<'_>, name: libc::c_int) -> io::Result<T> {
    let mut value = T::ZERO;
    let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    let mut length = size;
    // SAFETY: `value` has `length` writable bytes, both live through the call, and every pattern of
    // bytes is a valid `T`.
    #[expect(unsafe_code, reason = "getsockopt(2) has no safe form for these options")]
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result == 0 && length == size {
        Ok(value)
    } else if result == 0 {
        Err(io::ErrorKind::InvalidData.into())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// From `asm-generic/socket.h`, since Linux 6.5.
const SO_PEERPIDFD: libc::c_int = 77;
