use std::{io, net::IpAddr, os::fd::OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily as Family, RouteNetlinkMessage as Message,
    address::{
        AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
    },
    link::{LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
        netdevice::name_to_index, netlink::SocketAddrNetlink, recv, send, socket_with,
    },
};

/// The loopback device of one network namespace, and the line to the kernel that changes it.
///
/// [rtnetlink(7)](https://man7.org/linux/man-pages/man7/rtnetlink.7.html)
#[derive(Debug)]
pub(crate) struct Loopback {
    socket: OwnedFd,
    index: u32,
    sequence: u32,
}

impl Loopback {
    /// The device of the namespace that the calling thread is in. The value works from any thread.
    pub(crate) fn here() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        // Connected to the kernel, the socket takes messages from nobody else.
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        let index = name_to_index(&socket, "lo")?;
        Ok(Self { socket, index, sequence: 0 })
    }

    /// Brings the device up. It may be up already.
    pub(crate) fn up(&mut self) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = self.index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.change(Message::SetLink(link), 0)
    }

    /// Adds an address for this host alone. `false` when the device has it already.
    pub(crate) fn add(&mut self, address: IpAddr) -> io::Result<bool> {
        let mut message = self.message(address);
        // Nobody else can have the address here, so the kernel need not look for duplicates; until it
        // has, nothing could listen there.
        message.header.flags = AddressHeaderFlags::Permanent | AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Protocol(OURS));
        match self.change(Message::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Removes an address. It may be gone already.
    pub(crate) fn remove(&mut self, address: IpAddr) -> io::Result<()> {
        let message = self.message(address);
        match self.change(Message::DelAddress(message), 0) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::ADDRNOTAVAIL) => Ok(()),
            result => result,
        }
    }

    /// Whether packets to `address` stay in the namespace, now.
    pub(crate) fn is_local(&mut self, address: IpAddr) -> io::Result<bool> {
        let mut route = RouteMessage::default();
        let (family, length, address) = match address {
            IpAddr::V4(v4) => (Family::Inet, 32, RouteAddress::Inet(v4)),
            IpAddr::V6(v6) => (Family::Inet6, 128, RouteAddress::Inet6(v6)),
        };
        route.header.address_family = family;
        route.header.destination_prefix_length = length;
        route.attributes.push(RouteAttribute::Destination(address));
        match self.ask(Message::GetRoute(route), 0)? {
            NetlinkPayload::InnerMessage(Message::NewRoute(route)) => {
                Ok(route.header.kind == RouteType::Local)
            }
            // There is no route at all.
            NetlinkPayload::Error(_) => Ok(false),
            _ => Err(malformed()),
        }
    }

    /// The addresses on the device that this program added, in an earlier run perhaps. Kernels before
    /// 5.18 do not remember who added an address; there it is always empty.
    pub(crate) fn ours(&mut self) -> io::Result<Vec<IpAddr>> {
        self.send(Message::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
        let mut ours = Vec::new();
        let mut buffer = vec![0; DUMP_MAX];
        for _ in 0..DUMP_MESSAGES_MAX {
            let (length, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                let message = decode(rest)?;
                let next = usize::try_from(message.header.length).unwrap_or(usize::MAX);
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(ours),
                    NetlinkPayload::InnerMessage(Message::NewAddress(address)) => {
                        ours.extend(self.is_ours(&address));
                    }
                    _ => return Err(malformed()),
                }
                rest = rest.get(next.max(1).next_multiple_of(4)..).unwrap_or_default();
            }
        }
        Err(malformed())
    }

    fn is_ours(&self, message: &AddressMessage) -> Option<IpAddr> {
        if message.header.index != self.index
            || !message.attributes.contains(&AddressAttribute::Protocol(OURS))
        {
            return None;
        }
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    }

    fn message(&self, address: IpAddr) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = self.index;
        message.header.scope = AddressScope::Host;
        (message.header.family, message.header.prefix_len) = match address {
            IpAddr::V4(_) => (Family::Inet, 32),
            IpAddr::V6(_) => (Family::Inet6, 128),
        };
        message.attributes =
            vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        message
    }

    fn change(&mut self, message: Message, flags: u16) -> io::Result<()> {
        match self.ask(message, NLM_F_ACK | flags)? {
            NetlinkPayload::Error(error) => match error.code {
                None => Ok(()),
                Some(_) => Err(error.to_io()),
            },
            _ => Err(malformed()),
        }
    }

    fn ask(&mut self, message: Message, flags: u16) -> io::Result<NetlinkPayload<Message>> {
        self.send(message, flags)?;
        let mut buffer = [0; ANSWER_MAX];
        // The kernel answers before `send` returns.
        let (length, _) = recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
        Ok(decode(buffer.get(..length).unwrap_or_default())?.payload)
    }

    fn send(&mut self, message: Message, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(&self.socket, &bytes, SendFlags::empty())?;
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> io::Result<NetlinkMessage<Message>> {
    NetlinkMessage::deserialize(bytes).map_err(|_| malformed())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed answer from the kernel")
}

/// Marks an address as added by this program (`IFA_PROTO`), as routes are marked with the daemon that
/// made them. Numbers from 5 on are free.
const OURS: AddressProtocol = AddressProtocol::Other(169);
/// Bytes of an acknowledgement that are read.
const ANSWER_MAX: usize = 4096;
/// Bytes that the kernel puts into one message of a listing, at most.
const DUMP_MAX: usize = 32 * 1024;
/// How many messages of a listing are read: room for some ten thousand addresses.
const DUMP_MESSAGES_MAX: usize = 128;
