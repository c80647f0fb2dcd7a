//! Whatever happens in whatever order, the laws hold.

use proptest::prelude::*;

use crate::{
    kept::{Kept, small},
    memory::Failing,
};

#[derive(Clone, Debug)]
enum Op {
    Append {
        len: usize,
        calls: u32,
    },
    Sync,
    /// Of what was not synced, shares in 256ths get to the disk.
    Crash(Vec<u8>),
    Reopen,
    Read {
        from: u8,
        bytes: usize,
    },
    Acknowledge(u8),
    Budget(u64),
    FailOnce(u64),
    FailFrom(u64),
    Mend,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0..120_usize, 0..5_u32).prop_map(|(len, calls)| Op::Append { len, calls }),
        5 => Just(Op::Sync),
        2 => proptest::collection::vec(any::<u8>(), 1..6).prop_map(Op::Crash),
        1 => Just(Op::Reopen),
        3 => (any::<u8>(), 0..600_usize).prop_map(|(from, bytes)| Op::Read { from, bytes }),
        3 => any::<u8>().prop_map(Op::Acknowledge),
        1 => (0..10_000_u64).prop_map(Op::Budget),
        1 => (0..6_u64).prop_map(Op::FailOnce),
        1 => (0..6_u64).prop_map(Op::FailFrom),
        2 => Just(Op::Mend),
    ]
}

/// So many 256ths of the way from one to the other.
fn between(from: u64, to: u64, share: u8) -> u64 {
    from + (to - from) * u64::from(share) / 255
}

fn take(kept: &mut Kept, op: Op, index: usize) {
    match op {
        Op::Append { len, calls } => {
            // Now and then a payload looks like the beginning of a frame.
            let byte =
                if index.is_multiple_of(7) { 0xf5 } else { u8::try_from(index % 251).unwrap() };
            let mut payload = vec![byte; len];
            payload.iter_mut().skip(1).step_by(5).for_each(|byte| *byte = b'R');
            kept.append(&payload, calls);
        }
        Op::Sync => drop(kept.sync()),
        Op::Crash(shares) => {
            kept.disk.fail(Failing::None);
            let mut shares = shares.into_iter().cycle();
            kept.crash(|total| between(0, total, shares.next().unwrap()));
        }
        Op::Reopen => {
            kept.disk.fail(Failing::None);
            kept.reopen();
        }
        Op::Read { from, bytes } => drop(kept.read(between(0, kept.durable(), from), bytes)),
        Op::Acknowledge(share) => {
            let seq = between(kept.watermark() - 1, kept.durable() - 1, share);
            kept.acknowledge(seq);
        }
        Op::Budget(bytes) => kept.set_budget(bytes),
        Op::FailOnce(number) => kept.disk.fail(Failing::Once(number)),
        Op::FailFrom(number) => kept.disk.fail(Failing::From(number)),
        Op::Mend => kept.disk.fail(Failing::None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_or_given_twice_and_every_call_is_accounted_for(
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        let mut kept = Kept::new(small());
        for (index, op) in ops.into_iter().enumerate() {
            take(&mut kept, op, index);
        }
        kept.disk.fail(Failing::None);
        kept.verify();
        // A disk that works again leaves nothing in doubt.
        prop_assert!(kept.sync());
        kept.reopen();
    }
}
