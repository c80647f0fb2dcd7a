//! Acts are alone, whole and recorded.

use state::{BindingRow, BindingStatus, GroupRow, StateError};

use crate::world::{at, begun, draft, on_both, recorded, verified};

fn group(name: &str) -> GroupRow {
    GroupRow { name: name.to_owned(), body: "{}".to_owned(), changed: at(1) }
}

fn binding(version: u64, status: BindingStatus) -> BindingRow {
    let [application, environment] = ["orders", "prod"].map(str::to_owned);
    BindingRow { application, environment, version, status, body: "{}".to_owned() }
}

on_both! {
    async fn an_act_and_its_entries_come_together(world) {
        let mut act = begun(&world.state, "group.put").await;
        let second = act.record(draft("group.put"), at(2)).await.unwrap();
        act.put_group(&group("web")).await.unwrap();
        assert_eq!(act.tail(), second.tail());
        assert_eq!(world.state.read().await.unwrap().tail().seq, 0);
        act.commit(at(2)).await.unwrap();
        let mut reading = world.state.read().await.unwrap();
        assert_eq!(reading.group("web").await.unwrap(), Some(group("web")));
        assert_eq!(reading.entry(2).await.unwrap(), Some(second));
        assert_eq!(verified(&world.state).await.entries, 2);
    }

    async fn many_entries_at_once_are_a_chain_like_any_other(world) {
        for count in [0, 1, 3, 64, 131] {
            let mut act = begun(&world.state, "token.minted").await;
            act.record_all(vec![draft("token.minted"); count], at(2)).await.unwrap();
            act.record(draft("token.minted"), at(3)).await.unwrap();
            act.commit(at(3)).await.unwrap();
        }
        assert_eq!(verified(&world.state).await.entries, 199 + 5 * 2);
    }

    async fn an_act_that_is_dropped_never_was(world) {
        let mut act = begun(&world.state, "group.put").await;
        act.put_group(&group("web")).await.unwrap();
        drop(act);
        recorded(&world.state, at(1)).await;
        assert_eq!(world.state.read().await.unwrap().group("web").await.unwrap(), None);
        assert_eq!(verified(&world.state).await.entries, 1);
    }

    async fn an_act_without_an_entry_is_refused(world) {
        let mut act = world.state.act().await.unwrap();
        act.put_group(&group("web")).await.unwrap();
        assert!(matches!(act.commit(at(1)).await, Err(StateError::NotRecorded)));
        assert_eq!(world.state.read().await.unwrap().group("web").await.unwrap(), None);
        assert_eq!(verified(&world.state).await.entries, 0);
    }

    async fn an_act_that_only_looks_changes_nothing(world) {
        let act = world.state.act().await.unwrap();
        assert_eq!(act.commit(at(100)).await.unwrap(), 0);
    }

    async fn an_act_in_which_something_failed_is_not_committed(world) {
        let mut act = begun(&world.state, "binding.put").await;
        act.put_binding(&binding(1, BindingStatus::InForce)).await.unwrap();
        act.commit(at(1)).await.unwrap();
        let mut act = begun(&world.state, "binding.put").await;
        act.put_group(&group("web")).await.unwrap();
        let two = act.put_binding(&binding(2, BindingStatus::InForce)).await;
        assert!(matches!(two, Err(StateError::Conflict { .. })), "{two:?}");
        assert!(act.commit(at(1)).await.is_err());
        assert_eq!(world.state.read().await.unwrap().group("web").await.unwrap(), None);
        assert_eq!(verified(&world.state).await.entries, 1);
    }

    async fn two_reviewers_cannot_both_win(world) {
        let mut act = begun(&world.state, "binding.put").await;
        act.put_binding(&binding(1, BindingStatus::Proposed)).await.unwrap();
        act.commit(at(1)).await.unwrap();
        let review = |state: state::State, status| async move {
            let mut act = state.act().await.unwrap();
            let mut row = act.binding("orders", "prod", 1).await.unwrap().unwrap();
            if row.status != BindingStatus::Proposed {
                return false;
            }
            act.record(draft("binding.reviewed"), at(2)).await.unwrap();
            row.status = status;
            act.put_binding(&row).await.unwrap();
            act.commit(at(2)).await.unwrap();
            true
        };
        let won = tokio::join!(
            review(world.state.clone(), BindingStatus::InForce),
            review(world.another().await, BindingStatus::Rejected),
        );
        assert!(won.0 != won.1, "{won:?}");
        let mut reading = world.state.read().await.unwrap();
        let row = reading.binding("orders", "prod", 1).await.unwrap().unwrap();
        let of_the_winner = if won.0 { BindingStatus::InForce } else { BindingStatus::Rejected };
        assert_eq!(row.status, of_the_winner);
        assert_eq!(verified(&world.state).await.entries, 2);
    }

    async fn fifty_acts_at_once_give_one_chain_without_a_gap(world) {
        let other = world.another().await;
        let acts = (0..50).map(|number| {
            let state = if number % 2 == 0 { world.state.clone() } else { other.clone() };
            tokio::spawn(async move {
                let mut act = state.act().await.unwrap();
                let id = act.next_position().await.unwrap();
                act.record(draft("switch.set"), at(number)).await.unwrap();
                act.record(draft("switch.set"), at(number)).await.unwrap();
                let row = state::PositionRow {
                    id,
                    scope: format!("scope-{number}"),
                    body: "{}".to_owned(),
                    set_at: at(number),
                    expires: None,
                    ended: None,
                    ended_how: None,
                };
                act.put_position(&row).await.unwrap();
                act.commit(at(number)).await.unwrap()
            })
        });
        let mut revisions = Vec::new();
        for act in acts.collect::<Vec<_>>() {
            revisions.push(act.await.unwrap());
        }
        revisions.sort_unstable();
        revisions.dedup();
        assert_eq!(revisions.len(), 50);
        assert_eq!(verified(&world.state).await.entries, 100);
        let live = world.state.read().await.unwrap().live_positions().await.unwrap();
        assert_eq!(live.iter().map(|row| row.id).collect::<Vec<_>>(), (1..=50).rev().collect::<Vec<_>>());
    }

    async fn the_revision_only_grows_even_if_the_clock_jumps_back(world) {
        let act = |second| {
            let state = world.state.clone();
            async move {
                let mut act = begun(&state, "group.put").await;
                act.put_group(&group("web")).await.unwrap();
                act.commit(at(second)).await.unwrap()
            }
        };
        assert_eq!(act(1000).await, 1_000_000);
        assert_eq!(act(1000).await, 1_000_001);
        assert_eq!(act(10).await, 1_000_002);
        assert_eq!(act(-10).await, 1_000_003);
        assert_eq!(act(2000).await, 2_000_000);
        assert_eq!(world.state.revision().await.unwrap(), 2_000_000);
    }

    async fn what_changes_nothing_that_decides_leaves_the_revision_alone(world) {
        recorded(&world.state, at(1000)).await;
        assert_eq!(world.state.revision().await.unwrap(), 0);
    }

    async fn a_reading_does_not_see_what_comes_after_it(world) {
        let mut before = world.state.read().await.unwrap();
        let mut act = begun(&world.state, "group.put").await;
        act.put_group(&group("web")).await.unwrap();
        act.commit(at(1)).await.unwrap();
        let knowledge = before.knowledge().await.unwrap();
        assert_eq!((knowledge.revision, knowledge.groups.len()), (0, 0));
        let knowledge = world.state.read().await.unwrap().knowledge().await.unwrap();
        assert_eq!((knowledge.revision, knowledge.groups.len()), (1000, 1));
    }

    async fn an_act_sees_what_was_committed_just_before_it(world) {
        let other = world.another().await;
        for round in 1..=5 {
            recorded(if round % 2 == 0 { &world.state } else { &other }, at(round)).await;
            assert_eq!(world.state.act().await.unwrap().tail().seq, u64::try_from(round).unwrap());
        }
    }

    async fn readers_do_not_keep_an_act_waiting(world) {
        let mut readings = Vec::new();
        for _ in 1..world.settings.connections_max {
            readings.push(world.state.read().await.unwrap());
        }
        recorded(&world.state, at(1)).await;
        assert_eq!(readings.len(), 4);
    }
}
