//! A disk in memory that fails when told to, and forgets in a crash what was not synced.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, ErrorKind},
    rc::Rc,
};

use spool::{Disk, FileName};

/// The disk. Clones are the same disk, so that a test can look at what a spool does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    files: Vec<File>,
    names: BTreeMap<FileName, usize>,
    durable_names: BTreeMap<FileName, usize>,
    changed_names: Vec<(FileName, Option<usize>)>,
    /// How many changes were asked for.
    changes: u64,
    failing: Failing,
    /// How many bytes all files may have together.
    room: Option<usize>,
}

/// Which changes fail.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Failing {
    #[default]
    None,
    /// Only the one with this number.
    Once(u64),
    /// That one and all after it.
    From(u64),
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

impl Change {
    /// Does `keep` bytes of it at most; says how many are left to keep.
    fn apply(&self, bytes: &mut Vec<u8>, keep: u64) -> u64 {
        match self {
            Self::Cut(_) if keep == 0 => return 0,
            Self::Cut(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
            Self::Write(offset, written) => {
                let count = usize::try_from(keep).unwrap().min(written.len());
                let offset = usize::try_from(*offset).unwrap();
                if count == 0 {
                    return 0;
                }
                bytes.resize(bytes.len().max(offset + count), 0);
                bytes[offset..offset + count].copy_from_slice(&written[..count]);
            }
        }
        keep - keep.min(self.size())
    }

    fn size(&self) -> u64 {
        match self {
            Self::Cut(_) => 1,
            Self::Write(_, bytes) => bytes.len() as u64,
        }
    }
}

impl Memory {
    /// Says which changes fail from now on, counted from the next one, which is number 0.
    pub(crate) fn fail(&self, failing: Failing) {
        let mut inner = self.0.borrow_mut();
        (inner.failing, inner.changes) = (failing, 0);
    }

    /// How many changes there were since [`Memory::fail`].
    pub(crate) fn changes(&self) -> u64 {
        self.0.borrow().changes
    }

    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.0.borrow_mut().room = room;
    }

    /// The power is gone: of what was not synced, `keep` says how much got to the disk, of so much.
    pub(crate) fn crash(&self, mut keep: impl FnMut(u64) -> u64) {
        let mut inner = self.0.borrow_mut();
        let Inner { files, names, durable_names, changed_names, .. } = &mut *inner;
        for file in files.iter_mut() {
            let total = file.unsynced.iter().map(Change::size).sum();
            let mut left = keep(total);
            for change in std::mem::take(&mut file.unsynced) {
                left = change.apply(&mut file.durable, left);
            }
            file.now = file.durable.clone();
        }
        let total = changed_names.len() as u64;
        let kept = usize::try_from(keep(total)).unwrap();
        for (name, file) in std::mem::take(changed_names).into_iter().take(kept) {
            match file {
                Some(file) => durable_names.insert(name, file),
                None => durable_names.remove(&name),
            };
        }
        *names = durable_names.clone();
    }

    /// How many bytes of a file are written and not synced.
    pub(crate) fn unsynced(&self, name: FileName) -> u64 {
        let inner = self.0.borrow();
        inner.files[inner.names[&name]].unsynced.iter().map(Change::size).sum()
    }

    /// The segments that are there, the oldest first.
    pub(crate) fn segments(&self) -> Vec<FileName> {
        let inner = self.0.borrow();
        inner.names.keys().copied().filter(|name| *name != FileName::Marks).collect()
    }

    pub(crate) fn bytes(&self, name: FileName) -> Vec<u8> {
        let inner = self.0.borrow();
        inner.files[inner.names[&name]].now.clone()
    }

    /// Changes what is on the disk, behind everybody's back.
    pub(crate) fn damage(&self, name: FileName, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.0.borrow_mut();
        let file = inner.names[&name];
        damage(&mut inner.files[file].durable);
        inner.files[file].now = inner.files[file].durable.clone();
    }

    /// A copy of all that is on it, as a disk of its own.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        for name in self.names().unwrap() {
            let mut disk = copy.clone();
            disk.create(name).unwrap();
            disk.write(name, 0, &self.bytes(name)).unwrap();
            disk.sync(name).unwrap();
            disk.sync_names().unwrap();
        }
        copy
    }
}

impl Inner {
    fn file(&mut self, name: FileName) -> io::Result<&mut File> {
        let index = *self.names.get(&name).ok_or(ErrorKind::NotFound)?;
        Ok(&mut self.files[index])
    }

    /// Whether this change happens.
    fn may(&mut self) -> io::Result<()> {
        let number = self.changes;
        self.changes += 1;
        let fails = match self.failing {
            Failing::None => false,
            Failing::Once(only) => number == only,
            Failing::From(first) => number >= first,
        };
        if fails { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn change(&mut self, name: FileName, change: Change, keep: u64) -> io::Result<()> {
        let file = self.file(name)?;
        change.apply(&mut file.now, keep);
        let part = match change {
            Change::Write(offset, mut bytes) => {
                bytes.truncate(usize::try_from(keep).unwrap());
                Change::Write(offset, bytes)
            }
            cut @ Change::Cut(_) => cut,
        };
        file.unsynced.push(part);
        Ok(())
    }

    /// How many of the bytes of a write there is room for.
    fn fitting(&self, name: FileName, end: usize, len: usize) -> usize {
        let lens: usize = self.names.values().map(|file| self.files[*file].now.len()).sum();
        let own = self.names.get(&name).map_or(0, |file| self.files[*file].now.len());
        let more = end.saturating_sub(own);
        let free = self.room.map_or(usize::MAX, |room| room.saturating_sub(lens));
        len - more.saturating_sub(free).min(len)
    }
}

impl Disk for Memory {
    fn names(&self) -> io::Result<Vec<FileName>> {
        Ok(self.0.borrow().names.keys().copied().collect())
    }

    fn len(&mut self, name: FileName) -> io::Result<u64> {
        Ok(self.0.borrow_mut().file(name)?.now.len() as u64)
    }

    fn read(&mut self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        let file = inner.file(name)?;
        let rest = file.now.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn create(&mut self, name: FileName) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        inner.may()?;
        if inner.names.contains_key(&name) {
            return inner.change(name, Change::Cut(0), 1);
        }
        let file = inner.files.len();
        inner.files.push(File::default());
        inner.names.insert(name, file);
        inner.changed_names.push((name, Some(file)));
        Ok(())
    }

    fn write(&mut self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        let end = usize::try_from(offset).unwrap() + bytes.len();
        let fitting = inner.fitting(name, end, bytes.len());
        let all = || Change::Write(offset, bytes.to_vec());
        if let Err(error) = inner.may() {
            inner.change(name, all(), bytes.len() as u64 / 2)?;
            return Err(error);
        }
        inner.change(name, all(), fitting as u64)?;
        if fitting < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn cut(&mut self, name: FileName, len: u64) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        inner.may()?;
        inner.change(name, Change::Cut(len), 1)
    }

    fn sync(&mut self, name: FileName) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        let may = inner.may();
        let file = inner.file(name)?;
        if let Err(error) = may {
            // The kernel gave up on these bytes, and a later sync will not tell: what was there stays.
            let File { durable, unsynced, .. } = file;
            for change in unsynced {
                if let Change::Write(offset, bytes) = change {
                    let old = durable.get(usize::try_from(*offset).unwrap()..).unwrap_or_default();
                    let old = old.iter().copied().chain(std::iter::repeat(0));
                    bytes.iter_mut().zip(old).for_each(|(byte, old)| *byte = old);
                }
            }
            return Err(error);
        }
        for change in std::mem::take(&mut file.unsynced) {
            change.apply(&mut file.durable, u64::MAX);
        }
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        inner.may()?;
        inner.changed_names.clear();
        inner.durable_names = inner.names.clone();
        Ok(())
    }

    fn remove(&mut self, name: FileName) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        inner.may()?;
        inner.names.remove(&name).ok_or(ErrorKind::NotFound)?;
        inner.changed_names.push((name, None));
        Ok(())
    }
}
