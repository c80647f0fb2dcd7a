//! Frames of many hosts into segments, and those into the manifest.

use std::{collections::BTreeMap, time::Duration};

use ::lake::{Frame, Lake, Sender, Sent};
use api::{Kind, Problem};
use spool::Seq;
use state::{Move, Published, State};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    intake::{Offer, Read},
    of_lake, row,
};
use crate::{clock::Clock, fault::of_state, report};

/// How many calls' entries are sealed at once at most: they are held in memory.
const ENTRIES_MAX: usize = 1 << 18;
/// How often it is tried again where another replica was faster.
const ATTEMPTS: usize = 5;

/// Stores what is offered.
#[derive(Debug)]
pub struct Sealer {
    lake: Lake,
    offers: mpsc::Receiver<Offer>,
    every: Duration,
}

/// What is known of one spool's watermark while offers are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// Where it stands in the database.
    stored: u64,
    next: u64,
    calls: u64,
    missing: u64,
}

impl Sealer {
    pub(super) fn new(lake: Lake, offers: mpsc::Receiver<Offer>, every: Duration) -> Self {
        Self { lake, offers, every }
    }

    /// Stores until nobody offers any more. What was offered is stored before it ends.
    pub async fn run(mut self, state: State, clock: Clock) {
        while let Some(first) = self.offers.recv().await {
            let offers = self.gather(first).await;
            self.store(offers, &state, &clock).await;
        }
    }

    /// All that is offered until the time is up, or it is enough.
    async fn gather(&mut self, first: Offer) -> Vec<Offer> {
        let until = Instant::now() + self.every;
        let mut entries = size(&first);
        let mut offers = vec![first];
        while entries < ENTRIES_MAX {
            match timeout_at(until, self.offers.recv()).await {
                Ok(Some(offer)) => {
                    entries += size(&offer);
                    offers.push(offer);
                }
                // The time is up, or the server stops: then nobody shall wait for it.
                Ok(None) | Err(_) => break,
            }
        }
        offers
    }

    async fn store(&self, offers: Vec<Offer>, state: &State, clock: &Clock) {
        let answers = self.publish(&offers, state, clock).await;
        match answers {
            Ok(answers) => {
                for (offer, next) in offers.into_iter().zip(answers) {
                    // Who asked may have gone; then it asks again, and is told at once.
                    let _ = offer.answer.send(Ok(next));
                }
            }
            Err(problem) => {
                for offer in offers {
                    let _ = offer.answer.send(Err(problem.clone()));
                }
            }
        }
    }

    /// Stores what is new of offers, and answers for each with which frame to go on.
    async fn publish(
        &self,
        offers: &[Offer],
        state: &State,
        clock: &Clock,
    ) -> Result<Vec<Seq>, Problem> {
        for _ in 0..ATTEMPTS {
            let mut marks = marks(offers, state).await.map_err(|error| of_state(&error))?;
            let sent = plan(offers, &mut marks);
            let moves = moves(&marks);
            if moves.is_empty() {
                return Ok(answers(offers, &marks));
            }
            let pieces = self.lake.seal(sent).await.map_err(|error| of_lake(&error))?;
            let now = clock.now();
            let rows: Vec<_> = pieces.iter().map(|piece| row(piece, now)).collect();
            match state.publish(&rows, &moves, now).await {
                Ok(Published::Done) => return Ok(answers(offers, &marks)),
                // Another replica has stored some of it. Its files stay, and ours are orphans.
                Ok(Published::Overtaken(host, epoch)) => {
                    report(&format!(
                        "frames of host `{host}`, epoch {epoch}, were stored by another replica"
                    ));
                }
                Err(error) => return Err(of_state(&error)),
            }
        }
        Err(Problem::new(Kind::Busy, "other replicas store the same frames: send them again"))
    }
}

fn size(offer: &Offer) -> usize {
    let entries = |frame: &Read| frame.entries.as_ref().map_or(0, Vec::len);
    offer.frames.iter().map(entries).sum()
}

type Marks = BTreeMap<(String, String), Mark>;

/// Where the watermarks of all that is offered stand.
async fn marks(offers: &[Offer], state: &State) -> Result<Marks, state::StateError> {
    let mut reading = state.read().await?;
    let mut marks = Marks::new();
    for offer in offers {
        let key = (offer.host.clone(), offer.epoch.to_string());
        if marks.contains_key(&key) {
            continue;
        }
        let row = reading.watermark(&key.0, &key.1).await?;
        let (next, calls) = row.map_or((1, 0), |row| (row.next, row.calls));
        marks.insert(key, Mark { stored: next, next, calls, missing: 0 });
    }
    Ok(marks)
}

/// What of the offers is new, with the marks moved behind it.
fn plan(offers: &[Offer], marks: &mut Marks) -> Vec<Sent> {
    let mut sent: BTreeMap<(String, String), Sent> = BTreeMap::new();
    for offer in offers {
        let key = (offer.host.clone(), offer.epoch.to_string());
        let Some(mark) = marks.get_mut(&key) else { continue };
        // Frames between are still to come, and may be on their way: whoever has them sends them first.
        if offer.from.seq.0 > mark.next && offer.oldest != offer.from.seq {
            continue;
        }
        for frame in &offer.frames {
            if frame.at.seq.0 < mark.next {
                continue;
            }
            mark.missing += frame.at.calls.saturating_sub(mark.calls);
            mark.next = frame.at.seq.0 + 1;
            mark.calls = frame.at.calls + u64::from(frame.calls);
            let Some(entries) = &frame.entries else {
                mark.missing += u64::from(frame.calls);
                continue;
            };
            let to = sent.entry(key.clone()).or_insert_with(|| Sent {
                sender: Sender { agent: offer.host.clone(), epoch: offer.epoch.0 },
                frames: Vec::new(),
            });
            to.frames.push(Frame { seq: frame.at.seq.0, entries: entries.clone() });
        }
    }
    sent.into_values().collect()
}

fn moves(marks: &Marks) -> Vec<Move> {
    let moved = marks.iter().filter(|(_, mark)| mark.next != mark.stored);
    let one = |((host, epoch), mark): (&(String, String), &Mark)| Move {
        host: host.clone(),
        epoch: epoch.clone(),
        from: mark.stored,
        to: mark.next,
        calls: mark.calls,
        missing: mark.missing,
    };
    moved.map(one).collect()
}

fn answers(offers: &[Offer], marks: &Marks) -> Vec<Seq> {
    let next = |offer: &Offer| {
        let mark = marks.get(&(offer.host.clone(), offer.epoch.to_string()));
        Seq(mark.map_or(1, |mark| mark.next))
    };
    offers.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use spool::{Epoch, Position};
    use tokio::sync::oneshot;

    use super::*;

    /// Frames `from..to` of ten calls each, of a spool whose oldest frame is `oldest`; `bad` cannot be read.
    fn offer(from: u64, to: u64, oldest: u64, bad: Option<u64>) -> Offer {
        let at = |seq: u64| Position { seq: Seq(seq), calls: (seq - 1) * 10 };
        let frame =
            |seq| Read { at: at(seq), calls: 10, entries: (bad != Some(seq)).then(Vec::new) };
        Offer {
            host: "h1".to_owned(),
            epoch: Epoch([7; 16]),
            oldest: Seq(oldest),
            from: at(from),
            frames: (from..to).map(frame).collect(),
            answer: oneshot::channel().0,
        }
    }

    /// From a watermark, offers give these frames, and the mark moves to `next` with so many missing.
    #[track_caller]
    fn check(mark: u64, offers: &[Offer], frames: &[u64], next: u64, missing: u64) {
        let key = ("h1".to_owned(), Epoch([7; 16]).to_string());
        let calls = (mark - 1) * 10;
        let mut marks =
            Marks::from([(key.clone(), Mark { stored: mark, next: mark, calls, missing: 0 })]);
        let sent = plan(offers, &mut marks);
        let seqs = sent.iter().flat_map(|one| one.frames.iter().map(|frame| frame.seq));
        assert_eq!(seqs.collect::<Vec<_>>(), frames);
        assert_eq!((marks[&key].next, marks[&key].missing), (next, missing));
        assert_eq!(moves(&marks).len(), usize::from(next != mark));
        assert!(answers(offers, &marks).iter().all(|answer| answer.0 == next));
    }

    #[test]
    fn what_is_stored_already_is_not_stored_again() {
        check(1, &[offer(1, 4, 1, None)], &[1, 2, 3], 4, 0);
        check(4, &[offer(1, 4, 1, None)], &[], 4, 0);
        check(3, &[offer(1, 6, 1, None)], &[3, 4, 5], 6, 0);
        check(1, &[offer(1, 4, 1, None), offer(1, 4, 1, None)], &[1, 2, 3], 4, 0);
        check(1, &[offer(1, 4, 1, None), offer(4, 6, 1, None)], &[1, 2, 3, 4, 5], 6, 0);
    }

    #[test]
    fn frames_that_come_too_early_wait_until_those_before_them_have_come() {
        check(1, &[offer(4, 6, 1, None)], &[], 1, 0);
        check(1, &[offer(4, 6, 2, None)], &[], 1, 0);
    }

    #[test]
    fn frames_that_the_host_has_no_more_are_missing_to_the_call() {
        check(1, &[offer(4, 6, 4, None)], &[4, 5], 6, 30);
        check(2, &[offer(4, 6, 4, None)], &[4, 5], 6, 20);
    }

    #[test]
    fn a_frame_of_no_use_is_missing_and_the_next_is_stored() {
        check(1, &[offer(1, 4, 1, Some(2))], &[1, 3], 4, 10);
        let mut damaged = offer(1, 5, 1, None);
        damaged.frames.remove(2);
        check(1, &[damaged], &[1, 2, 4], 5, 10);
    }
}
