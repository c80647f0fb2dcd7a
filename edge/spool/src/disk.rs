use std::{fmt, io};

use crate::number::Seq;

/// A file of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// How far the sender is, and what was lost.
    Marks,
    /// The segment that begins with this frame.
    Segment(Seq),
}

impl FileName {
    /// The file that has this name; none where it is not one of the spool's.
    ///
    /// ```
    /// use spool::{FileName, Seq};
    /// let name = FileName::Segment(Seq(26));
    /// assert_eq!(name.to_string(), "000000000000001a.segment");
    /// assert_eq!(FileName::parse("000000000000001a.segment"), Some(name));
    /// assert_eq!(FileName::parse("lost+found"), None);
    /// ```
    pub fn parse(name: &str) -> Option<Self> {
        let parsed = match name.strip_suffix(".segment") {
            Some(seq) => Self::Segment(Seq(u64::from_str_radix(seq, 16).ok()?)),
            None => Self::Marks,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marks => f.write_str("marks"),
            Self::Segment(Seq(seq)) => write!(f, "{seq:016x}.segment"),
        }
    }
}

/// What the spool asks of a disk. [`Folder`](crate::Folder) is the real one; tests and the simulator have one that
/// fails when told to, and forgets what was not synced.
///
/// After an error nothing is known about the bytes concerned, except those synced before.
pub trait Disk {
    /// The files that are there, in any order.
    ///
    /// # Errors
    /// What the file system says.
    fn names(&self) -> io::Result<Vec<FileName>>;

    /// The length of a file in bytes.
    ///
    /// # Errors
    /// What the file system says; also where there is no such file.
    fn len(&mut self, name: FileName) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on, as far as the file goes; says how many there were.
    ///
    /// # Errors
    /// What the file system says.
    fn read(&mut self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Makes a file, or empties the one that is there.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&mut self, name: FileName) -> io::Result<()>;

    /// Writes `bytes` from `offset` on.
    ///
    /// # Errors
    /// What the file system says; a part may have been written.
    fn write(&mut self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file down to `len` bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn cut(&mut self, name: FileName, len: u64) -> io::Result<()>;

    /// Makes the bytes and the length of a file durable.
    ///
    /// # Errors
    /// What the file system says.
    fn sync(&mut self, name: FileName) -> io::Result<()>;

    /// Makes durable which files there are.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Removes a file. It may come back after a crash.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&mut self, name: FileName) -> io::Result<()>;

    /// Where a file is, for messages.
    fn place(&self, name: FileName) -> String {
        name.to_string()
    }
}
