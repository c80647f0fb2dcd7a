use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use workload::Workload;

use crate::{Key, Record, Sighting, Why};

/// Folds equal calls into counts, in bounded memory, without losing one.
///
/// The first sight of a key is told at once. Equal ones are counted and told when they are drained. Where room is
/// needed, the workload that holds most gives up what it used least recently: a flood of ever new calls makes only its own
/// workload's records more, and takes nothing from the others. What is given up is told then, with its count.
///
/// The law: *counts in = counts told + counts held*, to the unit.
///
/// ```
/// use std::time::Duration;
/// use calls::{Fold, Key, Line, Named, Sighting, Signer, Tell, decode};
///
/// let line = br#"{"Version":2,"Type":"ApiCall","Service":"S3","Api":"GetObject","Timestamp":1,"Count":3}"#;
/// let Line::Event(event) = decode(line)?.line else { panic!("another line") };
/// let key = Key::of(&event, None, Signer::Unknown, Named::default());
/// let sighting = Sighting::of(&event).expect("a call, not an attempt");
///
/// let mut fold = Fold::new(1 << 20);
/// let told = fold.take(key.clone(), sighting.clone(), Tell::AtOnce, Duration::ZERO);
/// assert_eq!(told.first.map(|record| record.sighting.count), Some(3));
/// assert_eq!(fold.take(key, sighting, Tell::AtOnce, Duration::ZERO).first, None);
/// assert_eq!(fold.drain(Duration::from_secs(10))[0].sighting.count, 3);
/// # Ok::<(), calls::Refused>(())
/// ```
#[derive(Debug)]
pub struct Fold {
    bytes_max: usize,
    bytes: usize,
    held: u64,
    /// Counts uses, so that there is always one that is longest ago.
    uses: u64,
    shares: BTreeMap<Who, Share>,
    /// The same, by what each holds.
    by_weight: BTreeSet<(usize, Who)>,
    evictions: Evictions,
}

/// Whose share of the table it is. All whom nobody knows have one together.
type Who = Arc<Option<Workload>>;

/// What one workload holds.
#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    cells: BTreeMap<Arc<Key>, Cell>,
    /// The keys by their last use.
    by_use: BTreeMap<u64, Arc<Key>>,
}

#[derive(Debug)]
struct Cell {
    used: u64,
    seen: Duration,
    /// What was not told yet.
    pending: Option<Sighting>,
    /// Whether anything of it was told.
    told: bool,
}

impl Cell {
    fn take(&mut self, why: Why) -> Option<(Sighting, Why)> {
        let sighting = self.pending.take()?;
        let why = if self.told { why } else { Why::First };
        self.told = true;
        Some((sighting, why))
    }
}

/// When a first sight is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Now.
    AtOnce,
    /// With the counts: whoever stores records has little room.
    Later,
}

/// What a sighting brings up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The record of a first sight, to be passed on at once.
    pub first: Option<Record>,
    /// Records that had to give their places to it.
    pub evicted: Vec<Record>,
}

/// How often places had to be given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Keys that were forgotten to make room. Each of them is a first sight when it comes again.
    pub keys: u64,
    /// Calls that were told of with them.
    pub calls: u64,
}

/// What a cell costs besides its key's texts, in bytes: the key, both trees, and the examples of a sighting, which
/// are bounded where they are decoded.
const CELL_BYTES: usize = 1024;

impl Fold {
    /// How long a key is remembered that is not seen again, by the clock since boot. Later, it is a first sight anew.
    pub const REMEMBERED: Duration = Duration::from_secs(60 * 60);

    /// An empty table that takes about so many bytes at most, its texts included.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            held: 0,
            uses: 0,
            shares: BTreeMap::new(),
            by_weight: BTreeSet::new(),
            evictions: Evictions::default(),
        }
    }

    /// Takes in what was seen. `now` is the time since boot.
    ///
    /// A key that is larger than the whole table is told of at once and not remembered.
    pub fn take(&mut self, key: Key, sighting: Sighting, tell: Tell, now: Duration) -> Told {
        self.uses += 1;
        if let Some(cell) = self.shares.get_mut(&key.workload).and_then(|share| {
            let uses = self.uses;
            share.used(&key, uses)
        }) {
            self.held = self.held.saturating_add(sighting.count);
            cell.seen = cell.seen.max(now);
            match &mut cell.pending {
                Some(pending) => pending.add(sighting),
                pending => *pending = Some(sighting),
            }
            return Told::default();
        }
        let key = Arc::new(key);
        let weight = weight(&key);
        if weight > self.bytes_max {
            let first = Some(Record { key, sighting, why: Why::First });
            return Told { first, evicted: Vec::new() };
        }
        let mut evicted = Vec::new();
        while self.bytes > self.bytes_max - weight && !self.by_weight.is_empty() {
            evicted.extend(self.evict());
        }
        let (used, seen) = (self.uses, now);
        let (first, pending) = match tell {
            Tell::AtOnce => {
                (Some(Record { key: Arc::clone(&key), sighting, why: Why::First }), None)
            }
            Tell::Later => {
                self.held = self.held.saturating_add(sighting.count);
                (None, Some(sighting))
            }
        };
        let told = first.is_some();
        self.insert(key, weight, Cell { used, seen, pending, told });
        Told { first, evicted }
    }

    /// Everything that was counted and not told yet, in the order of its keys, and forgets what was not seen for
    /// [`Fold::REMEMBERED`]. `now` is the time since boot.
    pub fn drain(&mut self, now: Duration) -> Vec<Record> {
        let mut records = Vec::new();
        let mut forgotten = Vec::new();
        for (who, share) in &mut self.shares {
            for (key, cell) in &mut share.cells {
                if let Some((sighting, why)) = cell.take(Why::Repeats) {
                    records.push(Record { key: Arc::clone(key), sighting, why });
                } else if now.saturating_sub(cell.seen) >= Self::REMEMBERED {
                    forgotten.push((Arc::clone(who), cell.used));
                }
            }
        }
        self.held = 0;
        for (who, used) in forgotten {
            self.remove(&who, used);
        }
        records
    }

    /// How many calls were counted and not told yet.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        self.shares.values().map(|share| share.cells.len()).sum()
    }

    /// How many keys of a workload are remembered.
    pub fn keys_of(&self, workload: &Option<Workload>) -> usize {
        self.shares.get(workload).map_or(0, |share| share.cells.len())
    }

    /// About how many bytes it takes; never more than it may.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What had to be given up so far.
    pub fn evictions(&self) -> Evictions {
        self.evictions
    }

    /// Gives up what the heaviest workload used least recently; a record if anything of it was not told yet.
    fn evict(&mut self) -> Option<Record> {
        let who = self.by_weight.last().map(|(_, who)| Arc::clone(who))?;
        let used = self.shares.get(&who).and_then(|share| share.by_use.keys().next().copied())?;
        let (key, mut cell) = self.remove(&who, used)?;
        let taken = cell.take(Why::Evicted);
        let count = taken.as_ref().map_or(0, |(sighting, _)| sighting.count);
        self.held = self.held.saturating_sub(count);
        self.evictions.keys += 1;
        self.evictions.calls = self.evictions.calls.saturating_add(count);
        taken.map(|(sighting, why)| Record { key, sighting, why })
    }

    fn insert(&mut self, key: Arc<Key>, weight: usize, cell: Cell) {
        let known = self.shares.get_key_value(&key.workload).map(|(who, _)| Arc::clone(who));
        let who = known.unwrap_or_else(|| Arc::new(key.workload.clone()));
        let share = self.shares.entry(Arc::clone(&who)).or_default();
        let before = share.bytes;
        share.bytes += weight;
        share.by_use.insert(cell.used, Arc::clone(&key));
        share.cells.insert(key, cell);
        let after = share.bytes;
        self.bytes += weight;
        self.weigh(who, before, after);
    }

    fn remove(&mut self, who: &Who, used: u64) -> Option<(Arc<Key>, Cell)> {
        let share = self.shares.get_mut(who)?;
        let key = share.by_use.remove(&used)?;
        let cell = share.cells.remove(&key)?;
        let before = share.bytes;
        let weight = weight(&key);
        share.bytes = before.saturating_sub(weight);
        let after = share.bytes;
        self.bytes = self.bytes.saturating_sub(weight);
        if after == 0 {
            self.shares.remove(who);
        }
        self.weigh(Arc::clone(who), before, after);
        Some((key, cell))
    }

    fn weigh(&mut self, who: Who, before: usize, after: usize) {
        let mut place = (before, who);
        self.by_weight.remove(&place);
        if after > 0 {
            place.0 = after;
            self.by_weight.insert(place);
        }
    }
}

impl Share {
    /// The cell of a key, as one that was used just now.
    fn used(&mut self, key: &Key, now: u64) -> Option<&mut Cell> {
        let cell = self.cells.get_mut(key)?;
        if let Some(key) = self.by_use.remove(&cell.used) {
            self.by_use.insert(now, key);
        }
        cell.used = now;
        Some(cell)
    }
}

fn weight(key: &Key) -> usize {
    CELL_BYTES + key.text_bytes()
}
