//! How long a connection has had nothing to do.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What there is to do on a connection: the requests whose head has come and that were not answered yet.
///
/// Nobody is woken when that changes, since it changes twice with every request: whoever waits for a rest looks
/// again when one could have been long enough.
#[derive(Clone, Debug)]
pub(super) struct Work(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// When the last one was answered, or the connection was made.
    since: Instant,
}

/// One request in flight, as long as this lives.
#[derive(Debug)]
pub(super) struct InFlight(Work);

impl Work {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { in_flight: 0, since: Instant::now() })))
    }

    /// A request came.
    pub(super) fn begin(&self) -> InFlight {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).in_flight += 1;
        InFlight(self.clone())
    }

    /// Waits until nothing was in flight for as long as `rest`.
    pub(super) async fn rested(&self, rest: Duration) {
        loop {
            let left = self.left(rest, Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// How long it takes at least until nothing was in flight for as long as `rest`.
    fn left(&self, rest: Duration, now: Instant) -> Duration {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.in_flight {
            0 => rest.saturating_sub(now.saturating_duration_since(state.since)),
            _ => rest,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.in_flight = state.in_flight.saturating_sub(1);
        state.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(3600);

    #[test]
    fn a_connection_rests_from_its_last_answer_on() {
        let work = Work::new();
        let in_an_hour = || Instant::now() + REST;
        assert_eq!(work.left(REST, in_an_hour()), Duration::ZERO);
        let (first, second) = (work.begin(), work.begin());
        assert_eq!(work.left(REST, in_an_hour()), REST);
        drop(first);
        assert_eq!(work.left(REST, in_an_hour()), REST);
        drop(second);
        // From now on, and not from when it was made.
        let early = Instant::now() + REST / 2;
        assert!(work.left(REST, early) > REST / 3);
        assert_eq!(work.left(REST, in_an_hour()), Duration::ZERO);
    }

    #[test]
    fn whoever_waits_for_a_rest_waits_for_what_is_in_flight_as_well() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (work, began) = (Work::new(), Instant::now());
        let in_flight = work.begin();
        let answer = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            drop(in_flight);
        };
        let rest = Duration::from_millis(50);
        runtime.block_on(async { tokio::join!(answer, work.rested(rest)) });
        assert!(began.elapsed() >= Duration::from_millis(200));
    }
}
