//! Every limit on a lease, with its unit, and the relations between them.

use std::time::Duration;

/// The shortest session that STS grants.
pub const LIFE_MIN: Duration = Duration::from_secs(15 * 60);
/// The longest session that STS grants; a role chained from another role gets one hour at most.
pub const LIFE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// What a role allows unless its owner says otherwise.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// Below this much life a lease is served only while its renewal fails. SDKs ask again as late as
/// ten minutes after they were given a short lease, and use it until then.
pub const SERVE_MIN: Duration = Duration::from_secs(10 * 60);

/// An outage of STS this long is not seen by anybody who holds a lease of one hour.
pub const OUTAGE_SURVIVED: Duration = Duration::from_secs(45 * 60);

/// A fetch without a result is given up after this long. The edge drops it at the same moment.
pub const FETCH_MAX: Duration = Duration::from_secs(15);

/// Two fetches for one lease start at least this far apart, even if the life that was granted, or
/// that a wrong wall clock makes of it, is shorter.
pub const FETCH_SPACING_MIN: Duration = Duration::from_secs(5);

/// The longest wait after a failure that passes by itself: STS unreachable, slow or throttling.
pub const RETRY_MAX: Duration = Duration::from_secs(2 * 60);
/// The longest wait after a failure that somebody must repair: denied, misconfigured.
pub const REPAIR_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a renewal that has come due may wait behind first fetches when all fetches are taken.
pub const RENEWAL_GRACE: Duration = Duration::from_secs(5 * 60);

/// A lease that nobody asked for in this long, or in a whole life of it if that is longer, is not
/// renewed. No client keeps credentials beyond their end, so whoever still lives has asked by then.
pub const IDLE_MIN: Duration = Duration::from_secs(60 * 60);

/// A difference between the host's wall clock and STS's that is worth telling the operator.
pub const SKEW_NOTED: Duration = Duration::from_secs(60);

/// How many fetches run at once. At 100 ms each this is 320 a second, about half of what STS grants
/// one account in one region.
pub const FETCHES_MAX: usize = 32;
/// How many leases one host holds.
pub const LEASES_MAX: usize = 4096;

// A lease is renewed when between a sixth and a fifth of its life has passed. Waiting longer would
// save calls but could not survive the outage: the lease must outlive it when it begins just before
// the renewal.
const RENEW_FROM: u32 = 6;
const RENEW_BY: u32 = 5;

/// The ages between which a lease of this life is renewed; jitter picks the moment.
pub const fn renewal_window(life: Duration) -> (Duration, Duration) {
    (divided(life, RENEW_FROM), divided(life, RENEW_BY))
}

const fn divided(life: Duration, by: u32) -> Duration {
    match life.checked_div(by) {
        Some(part) => part,
        None => life,
    }
}

const fn left_at_renewal(life: Duration) -> u64 {
    life.as_secs() - renewal_window(life).1.as_secs()
}

// INVARIANT (RenewedEarly): a session of one hour is renewed with at least thirty minutes left.
const _: () = assert!(left_at_renewal(LIFE_DEFAULT) >= 30 * 60);
// INVARIANT (OutageSurvived): the outage begins just before the renewal and the last attempt within
// it fails as late as it can; the next one still finds a living lease.
const _: () = assert!(
    left_at_renewal(LIFE_DEFAULT)
        > OUTAGE_SURVIVED.as_secs() + RETRY_MAX.as_secs() + FETCH_MAX.as_secs()
);
// INVARIANT (ServedLong): even the shortest session is renewed, and one attempt may be lost, before
// it has less than SERVE_MIN left.
const _: () = assert!(left_at_renewal(LIFE_MIN) > SERVE_MIN.as_secs() + 2 * FETCH_MAX.as_secs());
// INVARIANT (NotBornDue): the slowest fetch still brings a lease that is not due at once.
const _: () = assert!(renewal_window(LIFE_MIN).0.as_secs() > FETCH_MAX.as_secs());
// INVARIANT (Jittered): there is room for jitter even in the shortest session.
const _: () = assert!(
    renewal_window(LIFE_MIN).1.as_secs() - renewal_window(LIFE_MIN).0.as_secs()
        >= FETCH_MAX.as_secs()
);
// INVARIANT (SpacingIsRare): the spacing never delays the renewal of a session that STS grants.
const _: () = assert!(renewal_window(LIFE_MIN).0.as_secs() > FETCH_SPACING_MIN.as_secs());
// INVARIANT (IdleIsLate): a client that holds the default session cannot be taken for gone.
const _: () = assert!(IDLE_MIN.as_secs() >= LIFE_DEFAULT.as_secs());
const _: () = assert!(LIFE_MIN.as_secs() <= LIFE_DEFAULT.as_secs());
const _: () = assert!(LIFE_DEFAULT.as_secs() <= LIFE_MAX.as_secs());
const _: () = assert!(FETCHES_MAX <= LEASES_MAX);

/// What may differ from host to host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where jitter comes from: different on every host, or the whole fleet renews at once.
    pub seed: u64,
    /// How many fetches run at once.
    pub fetches_max: usize,
    /// How many leases are held.
    pub leases_max: usize,
}

impl Policy {
    /// The promised limits, with a seed that should come from the host's random source.
    pub const fn new(seed: u64) -> Self {
        Self { seed, fetches_max: FETCHES_MAX, leases_max: LEASES_MAX }
    }
}
