use std::fmt;

use calls::Entry;

use crate::file::hexadecimal;

/// Whose frames they are. A sequence number means something in one life of one sender's spool only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender {
    /// The agent, by the name of its host.
    pub agent: String,
    /// The life of its spool.
    pub epoch: [u8; 16],
}

/// What was in one frame of a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number, which grows by one from frame to frame.
    pub seq: u64,
    /// What it holds, in order.
    pub entries: Vec<Entry>,
}

/// Frames of one sender, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Whose.
    pub sender: Sender,
    /// The frames.
    pub frames: Vec<Frame>,
}

/// Where an entry came from. No two entries have the same, ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin<'a> {
    pub(crate) sender: &'a Sender,
    pub(crate) seq: u64,
    pub(crate) index: usize,
}

impl Sender {
    /// The epoch as text.
    pub(crate) fn epoch_text(&self) -> String {
        hexadecimal(&self.epoch)
    }
}

/// The id of an event: dense, so that it costs little beside its neighbours.
impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sender, seq, index } = self;
        write!(f, "{}-{}-{seq}-{index}", sender.agent, sender.epoch_text())
    }
}
