//! Positions of the switch: which of them decides for a workload.

use cloud::Region;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use workload::{Application, Environment, Workload};

use crate::Switch;

/// Where a workload runs: everything that a scope can ask for.
#[derive(Clone, Copy, Debug)]
pub struct Seat<'a> {
    /// The region that its host is in.
    pub region: Option<&'a Region>,
    /// Its host's id.
    pub host: &'a str,
    /// The workload.
    pub workload: &'a Workload,
}

/// Whom a position is about: all who are equal in each field that is there. Without any field it is the
/// whole fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The region that the host is in.
    pub region: Option<Region>,
    /// The application.
    pub application: Option<Application>,
    /// The environment.
    pub environment: Option<Environment>,
    /// The host's id.
    pub host: Option<String>,
    /// The workload.
    pub workload: Option<Workload>,
}

/// A position of the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its id. Of two that fit, the one with the higher id was set later and decides.
    pub id: u64,
    /// Whom it is about.
    pub scope: Scope,
    /// Where credentials come from.
    pub switch: Switch,
    /// How many of those in scope it takes in, of a hundred: see [`share`].
    pub percent: u32,
    /// When it ends by itself. It counts no more at that very moment.
    pub expires: Option<Timestamp>,
}

/// The positions that may decide, latest first.
///
/// ```
/// # use credentials::{Position, Positions, Scope, Seat, Switch};
/// let position = |id, switch| Position { id, scope: Scope::default(), switch, percent: 100, expires: None };
/// let positions = Positions::new([position(1, Switch::On), position(2, Switch::Off)]);
/// let workload = "orders/prod/1".parse().unwrap();
/// let seat = Seat { region: None, host: "h1", workload: &workload };
/// let now = jiff::Timestamp::UNIX_EPOCH;
/// assert_eq!(positions.decide(&seat, now), Switch::Off);
/// assert_eq!(positions.decider(&seat, now).unwrap().id, 2);
/// // Where nothing fits, the switch is off.
/// assert_eq!(Positions::default().decide(&seat, now), Switch::Off);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<Position>);

/// What every hash of a workload begins with, so that its share here says nothing about any other one.
const DOMAIN: &[u8] = b"rolecall-switch-v1\0";

/// A workload's place among a hundred: 0 to 99, the same on every host, server and release. A position
/// of `p` percent takes in those below `p`, so that a higher percentage takes in all that a lower one
/// did.
///
/// It is the upper 64 bits of SHA-256 over `rolecall-switch-v1`, a zero byte and the workload's id, as a
/// fraction of a hundred.
pub fn share(workload: &Workload) -> u32 {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    hasher.update(workload.to_string());
    let digest = hasher.finalize();
    let upper = digest.iter().take(8).fold(0_u128, |upper, byte| upper << 8 | u128::from(*byte));
    // Below 2^64, so below a hundred after the shift.
    u32::try_from((upper * 100) >> 64).unwrap_or(99)
}

impl Scope {
    /// Whether a workload there is meant.
    pub fn takes_in(&self, seat: &Seat<'_>) -> bool {
        let Self { region, application, environment, host, workload } = self;
        region.as_ref().is_none_or(|wanted| Some(wanted) == seat.region)
            && application.as_ref().is_none_or(|wanted| *wanted == seat.workload.application)
            && environment.as_ref().is_none_or(|wanted| *wanted == seat.workload.environment)
            && host.as_ref().is_none_or(|wanted| wanted == seat.host)
            && workload.as_ref().is_none_or(|wanted| wanted == seat.workload)
    }

    /// Whether a workload on a host can be meant at all: what is not about another host or region.
    pub fn concerns_host(&self, host: &str, region: Option<&Region>) -> bool {
        self.host.as_ref().is_none_or(|wanted| wanted == host)
            && self.region.as_ref().is_none_or(|wanted| Some(wanted) == region)
    }

    /// Whether an application in an environment can be meant at all.
    pub fn concerns(&self, application: &Application, environment: &Environment) -> bool {
        let Self { application: of, environment: within, workload, .. } = self;
        of.as_ref().is_none_or(|wanted| wanted == application)
            && within.as_ref().is_none_or(|wanted| wanted == environment)
            && workload.as_ref().is_none_or(|wanted| {
                wanted.application == *application && wanted.environment == *environment
            })
    }
}

impl Position {
    /// Whether its time is not over.
    pub fn lives(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it takes a workload in, as long as it lives.
    pub fn takes_in(&self, seat: &Seat<'_>) -> bool {
        self.scope.takes_in(seat) && (self.percent >= 100 || share(seat.workload) < self.percent)
    }
}

impl Positions {
    /// The positions, in whatever order they come.
    pub fn new(positions: impl IntoIterator<Item = Position>) -> Self {
        let mut positions: Vec<_> = positions.into_iter().collect();
        positions.sort_by_key(|position| std::cmp::Reverse(position.id));
        Self(positions)
    }

    /// The position that decides for a workload: the latest that lives and takes it in.
    pub fn decider(&self, seat: &Seat<'_>, now: Timestamp) -> Option<&Position> {
        self.0.iter().find(|position| position.lives(now) && position.takes_in(seat))
    }

    /// Where a workload's credentials come from. Where nothing was said, from the host.
    pub fn decide(&self, seat: &Seat<'_>, now: Timestamp) -> Switch {
        self.decider(seat, now).map_or(Switch::Off, |position| position.switch)
    }

    /// When the next one ends by itself, of those that live: what was decided holds until then.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.0.iter().filter(|position| position.lives(now));
        ends.filter_map(|position| position.expires).min()
    }

    /// All of them, latest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Position> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn position(id: u64, scope: Scope, switch: Switch, percent: u32) -> Position {
        Position { id, scope, switch, percent, expires: None }
    }

    /// Of `orders/prod/1` on host `h1` in `eu-west-1`.
    #[track_caller]
    fn check(positions: Vec<Position>, now: i64, decider: Option<u64>) {
        let (workload, region) = ("orders/prod/1".parse().unwrap(), "eu-west-1".parse().unwrap());
        let seat = Seat { region: Some(&region), host: "h1", workload: &workload };
        let positions = Positions::new(positions);
        assert_eq!(positions.decider(&seat, at(now)).map(|position| position.id), decider);
    }

    #[test]
    fn the_newest_position_that_fits_decides_however_wide_it_is() {
        let narrow = Scope { workload: Some("orders/prod/1".parse().unwrap()), ..Scope::default() };
        let wide = Scope::default();
        check(vec![position(1, narrow.clone(), Switch::On, 100)], 0, Some(1));
        check(
            vec![
                position(2, wide.clone(), Switch::Off, 100),
                position(1, narrow.clone(), Switch::On, 100),
            ],
            0,
            Some(2),
        );
        check(
            vec![position(2, wide, Switch::Off, 100), position(3, narrow, Switch::On, 100)],
            0,
            Some(3),
        );
    }

    #[test]
    fn a_scope_fits_only_what_is_equal_in_every_field() {
        let fits = |change: fn(&mut Scope), decider| {
            let mut scope = Scope::default();
            change(&mut scope);
            check(vec![position(1, scope, Switch::On, 100)], 0, decider);
        };
        fits(|scope| scope.region = Some("eu-west-1".parse().unwrap()), Some(1));
        fits(|scope| scope.region = Some("eu-west-2".parse().unwrap()), None);
        fits(|scope| scope.application = Some("orders".parse().unwrap()), Some(1));
        fits(|scope| scope.application = Some("billing".parse().unwrap()), None);
        fits(|scope| scope.environment = Some("prod".parse().unwrap()), Some(1));
        fits(|scope| scope.environment = Some("test".parse().unwrap()), None);
        fits(|scope| scope.host = Some("h1".to_owned()), Some(1));
        fits(|scope| scope.host = Some("h2".to_owned()), None);
        fits(|scope| scope.workload = Some("orders/prod/2".parse().unwrap()), None);
    }

    #[test]
    fn a_position_ends_at_its_end_and_lets_what_lay_under_it_decide() {
        let under = position(1, Scope::default(), Switch::Off, 100);
        let over =
            Position { expires: Some(at(10)), ..position(2, Scope::default(), Switch::On, 100) };
        check(vec![under.clone(), over.clone()], 9, Some(2));
        check(vec![under.clone(), over.clone()], 10, Some(1));
        let positions = Positions::new([under, over]);
        assert_eq!(positions.next_end(at(9)), Some(at(10)));
        assert_eq!(positions.next_end(at(10)), None);
    }

    #[test]
    fn the_share_of_a_workload_never_changes() {
        // Computed by another program: a release that changes it flips workloads by itself.
        for (workload, expected) in
            [("orders/prod/1", SHARES[0]), ("orders/prod/2", SHARES[1]), ("a/b/c", SHARES[2])]
        {
            assert_eq!(share(&workload.parse().unwrap()), expected, "{workload}");
        }
    }

    const SHARES: [u32; 3] = [21, 25, 47];

    #[test]
    fn a_percentage_takes_in_about_that_many() {
        let all = 10_000;
        let below = |percent| {
            let shares = (0..all).map(|n| share(&format!("orders/prod/{n}").parse().unwrap()));
            shares.filter(|share| *share < percent).count()
        };
        for percent in [1, 10, 50, 90] {
            let (found, wanted) = (below(percent), all * percent as usize / 100);
            assert!(found.abs_diff(wanted) < 150, "{found} of {all} for {percent} percent");
        }
        assert_eq!(below(100), all);
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        let name = || prop::option::of("[ab]");
        (name(), name(), name(), prop::option::of(("[ab]", "[ab]", "[ab]"))).prop_map(
            |(application, environment, host, workload)| Scope {
                region: None,
                application: application.map(|name| name.parse().unwrap()),
                environment: environment.map(|name| name.parse().unwrap()),
                host,
                workload: workload.map(|(a, e, i)| format!("{a}/{e}/{i}").parse().unwrap()),
            },
        )
    }

    proptest! {
        #[test]
        fn raising_a_percentage_never_flips_anybody_back(
            scope in any_scope(), low in 1..=100_u32, more in 0..=100_u32, names in ("[ab]", "[ab]", "[ab-z]{1,8}"),
        ) {
            let workload = format!("{}/{}/{}", names.0, names.1, names.2).parse().unwrap();
            let seat = Seat { region: None, host: "a", workload: &workload };
            let high = (low + more).min(100);
            let before = position(1, scope.clone(), Switch::On, low);
            let after = position(2, scope, Switch::On, high);
            prop_assert!(!before.takes_in(&seat) || after.takes_in(&seat));
        }

        #[test]
        fn what_takes_a_workload_in_concerns_its_host_and_its_application(
            scope in any_scope(), names in ("[ab]", "[ab]", "[ab]"), host in "[ab]",
        ) {
            let workload: Workload = format!("{}/{}/{}", names.0, names.1, names.2).parse().unwrap();
            let seat = Seat { region: None, host: &host, workload: &workload };
            if scope.takes_in(&seat) {
                prop_assert!(scope.concerns_host(&host, None));
                prop_assert!(scope.concerns(&workload.application, &workload.environment));
            }
        }

        #[test]
        fn the_order_in_which_positions_come_does_not_matter(
            scopes in prop::collection::vec((any_scope(), any::<bool>(), 1..=100_u32), 0..6), names in ("[ab]", "[ab]", "[ab]"),
        ) {
            let workload = format!("{}/{}/{}", names.0, names.1, names.2).parse().unwrap();
            let seat = Seat { region: None, host: "a", workload: &workload };
            let made: Vec<_> = scopes.into_iter().zip(1..).map(|((scope, on, percent), id)| {
                position(id, scope, if on { Switch::On } else { Switch::Off }, percent)
            }).collect();
            let forth = Positions::new(made.clone());
            let back = Positions::new(made.into_iter().rev());
            prop_assert_eq!(forth.decider(&seat, at(0)), back.decider(&seat, at(0)));
        }
    }
}
