/// What the caller shall do because of how full the spool is. Each stage includes those before it.
///
/// ```
/// use spool::Stage;
/// assert!(Stage::FoldReads < Stage::Drop);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Store calls one by one.
    Normal,
    /// Fold reads into counts.
    FoldReads,
    /// Fold everything into counts.
    FoldAll,
    /// There is no room. Every frame is counted and dropped until there is.
    Drop,
}

/// From how much of the budget on a stage holds, in percent.
const ENTERED_PERCENT: [(Stage, u64); 3] =
    [(Stage::Drop, 95), (Stage::FoldAll, 75), (Stage::FoldReads, 50)];
/// How far below that the use must fall before the stage is left, in percent of the budget. More than a
/// segment would make each deletion change the stage.
const SLACK_PERCENT: u64 = 10;

impl Stage {
    /// The stage at `used` bytes of `budget` bytes, after this one.
    pub(crate) fn after(self, used: u64, budget: u64) -> Self {
        let percent = u128::from(used) * 100;
        let reaches = |stage: Self, limit: u64| {
            let slack = if self >= stage { SLACK_PERCENT } else { 0 };
            percent >= u128::from(budget) * u128::from(limit - slack)
        };
        let stage = ENTERED_PERCENT.iter().find(|(stage, limit)| reaches(*stage, *limit));
        stage.map_or(Self::Normal, |(stage, _)| *stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &[(u64, Stage)]) {
        let mut stage = Stage::Normal;
        for (used, next) in path {
            stage = stage.after(*used, 1000);
            assert_eq!(stage, *next, "at {used}");
        }
    }

    #[test]
    fn stages_are_entered_one_after_the_other() {
        use Stage::{Drop, FoldAll, FoldReads, Normal};
        check(&[(499, Normal), (500, FoldReads), (749, FoldReads), (750, FoldAll), (950, Drop)]);
        check(&[(1000, Drop), (0, Normal)]);
    }

    #[test]
    fn a_stage_is_left_only_well_below_where_it_was_entered() {
        use Stage::{Drop, FoldAll, FoldReads, Normal};
        check(&[(950, Drop), (850, Drop), (849, FoldAll), (650, FoldAll), (649, FoldReads)]);
        check(&[(500, FoldReads), (400, FoldReads), (399, Normal), (499, Normal)]);
    }

    #[test]
    fn without_a_budget_everything_is_dropped() {
        assert_eq!(Stage::Normal.after(0, 0), Stage::Drop);
        assert_eq!(Stage::Normal.after(u64::MAX, u64::MAX), Stage::Drop);
    }
}
