//! A segment of the spool: whatever its bytes, it is opened; frames come in order, each once, and what is missing is
//! counted to the call. Nothing is held that is not in the file.
#![no_main]

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc, time::Duration};

use libfuzzer_sys::fuzz_target;
use spool::{Disk, Epoch, FileName, Frame, Limits, Piece, Position, Scan, Seq, Spool};

const EPOCH: Epoch = Epoch([7; 16]);

/// A disk that never fails. Clones are the same disk.
#[derive(Clone, Debug, Default)]
struct Memory(Rc<RefCell<BTreeMap<FileName, Vec<u8>>>>);

impl Memory {
    fn file<T>(&self, name: FileName, act: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        self.0.borrow_mut().get_mut(&name).map(act).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Disk for Memory {
    fn names(&self) -> io::Result<Vec<FileName>> {
        Ok(self.0.borrow().keys().copied().collect())
    }

    fn len(&mut self, name: FileName) -> io::Result<u64> {
        self.file(name, |file| file.len() as u64)
    }

    fn read(&mut self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        assert!(bytes.len() <= spool::PAYLOAD_MAX + spool::FRAME_HEADER_LEN, "memory is bounded");
        self.file(name, |file| {
            let rest = file.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            bytes[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn create(&mut self, name: FileName) -> io::Result<()> {
        self.0.borrow_mut().insert(name, Vec::new());
        Ok(())
    }

    fn write(&mut self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name, |file| {
            let offset = offset as usize;
            file.resize(file.len().max(offset + bytes.len()), 0);
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
        })
    }

    fn cut(&mut self, name: FileName, len: u64) -> io::Result<()> {
        self.file(name, |file| file.truncate(len as usize))
    }

    fn sync(&mut self, _: FileName) -> io::Result<()> {
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, name: FileName) -> io::Result<()> {
        self.0.borrow_mut().remove(&name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}

/// The input as pieces: bytes as they are, and whole frames with any place and payload, whose check sums hold.
fn segment(mut input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(([kind, len], rest)) = input.split_first_chunk::<2>() {
        let (piece, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        input = rest;
        match piece.split_first_chunk::<4>() {
            Some(([seq, before, calls, high], payload)) if kind % 3 > 0 => {
                // Places at both ends of what there is.
                let wide =
                    |low: u8| if *high > 250 { u64::MAX - u64::from(low) } else { u64::from(low) };
                let at = Position { seq: Seq(wide(*seq)), calls: wide(*before) };
                let frame = Frame { at, calls: u32::from(*calls), payload: payload.to_vec() };
                bytes.extend(frame.to_bytes(EPOCH));
            }
            _ => bytes.extend(piece),
        }
    }
    bytes
}

fn scanned(bytes: &[u8]) -> Vec<Frame> {
    let (mut frames, mut covered) = (Vec::new(), 0);
    for piece in Scan::new(EPOCH, Position::START, bytes) {
        match piece {
            Piece::Frame(frame) => {
                covered += spool::FRAME_HEADER_LEN + frame.payload.len();
                frames.push(frame);
            }
            Piece::Bad { offset, len } => {
                assert_eq!(offset, covered);
                covered += len;
            }
        }
    }
    assert_eq!(covered, bytes.len());
    frames
}

/// All laws of an opened spool; what it gives.
fn opened(disk: &Memory) -> (Spool<Memory>, Vec<Frame>) {
    let opened = Spool::open_on(disk.clone(), EPOCH, Limits::default());
    let (mut spool, recovery) = opened.expect("whatever is in a segment, it opens");
    let mut frames: Vec<Frame> = Vec::new();
    loop {
        let next = frames.last().map_or(Some(Position::START), Frame::end).expect("it was read");
        let more = spool.read(next.seq, 300).expect("memory can be read");
        if more.is_empty() {
            break;
        }
        frames.extend(more);
    }
    let tally = spool.tally();
    assert_eq!(tally.taken, tally.stored + tally.waiting + tally.lost.total());
    let stored: u64 = frames.iter().map(|frame| u64::from(frame.calls)).sum();
    assert_eq!((tally.stored, tally.lost.damaged), (stored, recovery.damaged_calls));
    (spool, frames)
}

fuzz_target!(|input: &[u8]| {
    let bytes = segment(input);
    let frames = scanned(&bytes);
    assert!(frames.is_sorted_by(|a, b| a.end().is_some_and(|end| end <= b.at)));

    // An empty spool, whose one segment has a header; behind it, the bytes.
    let disk = Memory::default();
    drop(opened(&disk));
    disk.0.borrow_mut().entry(FileName::Segment(Seq(1))).or_default().extend(&bytes);
    let (mut spool, found) = opened(&disk);
    assert_eq!(found, frames);

    let (end, before) = (spool.end(), spool.tally());
    if spool.append(b"goes on", 1, Duration::ZERO).is_ok() {
        assert_eq!(Some(spool.sync().expect("memory has room")), end.after(1));
        let (mut spool, found) = opened(&disk);
        assert_eq!(found.len(), frames.len() + 1);
        assert_eq!(spool.tally().stored, before.stored + 1);
        spool.acknowledge(end.seq).expect("it is durable");
        assert!(spool.read(Seq(0), 300).expect("memory can be read").is_empty());
        assert_eq!(spool.tally().lost, before.lost);
    }
});
