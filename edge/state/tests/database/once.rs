//! What can be used once is used once, whoever comes at the same time.

use jiff::Timestamp;
use secret::SecretText;
use state::{DecisionRow, JoinTokenRow, LoginRow, SessionRow, State};

use crate::world::{at, begun, draft, on_both, verified};

fn token(uses: u64) -> JoinTokenRow {
    JoinTokenRow {
        id: "t1".to_owned(),
        secret_hash: "right".to_owned(),
        uses,
        used: 0,
        made: at(0),
        expires: at(100),
        revoked: None,
        body: "{}".to_owned(),
    }
}

async fn put(state: &State, token: &JoinTokenRow) {
    let mut act = begun(state, "join-token.made").await;
    act.put_join_token(token).await.unwrap();
    act.commit(at(1)).await.unwrap();
}

async fn spend(state: State, secret: &str, now: Timestamp) -> bool {
    let mut act = state.act().await.unwrap();
    let used = act.use_join_token("t1", secret, now).await.unwrap().is_some();
    act.record(draft(if used { "host.joined" } else { "host.refused" }), now).await.unwrap();
    act.commit(now).await.unwrap();
    used
}

fn login(hash: &str, body: &str) -> LoginRow {
    let body = SecretText::new(body.to_owned());
    LoginRow { hash: hash.to_owned(), kind: "device".to_owned(), body, expires: at(100) }
}

fn session(hash: &str, expires: i64) -> SessionRow {
    SessionRow {
        hash: hash.to_owned(),
        person: "alice".to_owned(),
        created: at(0),
        used: at(5),
        expires: at(expires),
        body: "{}".to_owned(),
    }
}

on_both! {
    async fn a_join_token_is_used_as_often_as_it_says(world) {
        put(&world.state, &token(1)).await;
        let other = world.another().await;
        let (one, two) = tokio::join!(
            spend(world.state.clone(), "right", at(1)),
            spend(other, "right", at(1)),
        );
        assert!(one != two);
        put(&world.state, &token(2)).await;
        let mut used = Vec::new();
        for _ in 0..3 {
            used.push(spend(world.state.clone(), "right", at(1)).await);
        }
        assert_eq!(used, [true, true, false]);
        verified(&world.state).await;
    }

    async fn a_join_token_with_another_secret_or_past_its_end_is_not_used(world) {
        put(&world.state, &token(9)).await;
        assert!(!spend(world.state.clone(), "wrong", at(1)).await);
        assert!(!spend(world.state.clone(), "right", at(100)).await);
        assert!(spend(world.state.clone(), "right", at(99)).await);
        put(&world.state, &JoinTokenRow { revoked: Some(at(2)), ..token(9) }).await;
        assert!(!spend(world.state.clone(), "right", at(3)).await);
    }

    async fn a_nonce_is_taken_once(world) {
        world.state.put_nonce("n1", at(100)).await.unwrap();
        let other = world.another().await;
        let takes: Vec<_> = (0..8)
            .map(|number| {
                let state = if number % 2 == 0 { world.state.clone() } else { other.clone() };
                tokio::spawn(async move { state.take_nonce("n1", at(1)).await.unwrap() })
            })
            .collect();
        let mut taken = 0;
        for take in takes {
            taken += u32::from(take.await.unwrap());
        }
        assert_eq!(taken, 1);
        world.state.put_nonce("n2", at(100)).await.unwrap();
        assert!(!world.state.take_nonce("n2", at(100)).await.unwrap());
        assert!(!world.state.take_nonce("n3", at(1)).await.unwrap());
    }

    async fn a_login_is_taken_once(world) {
        world.state.put_login(&login("l1", "first")).await.unwrap();
        world.state.put_login(&login("l1", "second")).await.unwrap();
        let seen = world.state.read().await.unwrap().login("l1").await.unwrap();
        assert_eq!(seen, Some(login("l1", "second")));
        let other = world.another().await;
        let (one, two) =
            tokio::join!(world.state.take_login("l1", at(1)), other.take_login("l1", at(1)));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one.is_some() != two.is_some());
        assert_eq!(one.or(two), Some(login("l1", "second")));
        world.state.put_login(&login("l1", "late")).await.unwrap();
        assert_eq!(world.state.take_login("l1", at(100)).await.unwrap(), None);
    }

    async fn what_a_login_holds_is_not_shown(world) {
        let login = login("l1", "verifier");
        world.state.put_login(&login).await.unwrap();
        assert!(!format!("{login:?}").contains("verifier"));
    }

    async fn a_session_lives_until_it_is_ended_or_over(world) {
        let mut act = begun(&world.state, "session.begun").await;
        for row in [session("s1", 100), session("s2", 10), session("s3", 100)] {
            act.put_session(&row).await.unwrap();
        }
        act.commit(at(1)).await.unwrap();
        world.state.touch_session("s1", at(7)).await.unwrap();
        world.state.touch_session("s1", at(6)).await.unwrap();
        world.state.put_nonce("n1", at(10)).await.unwrap();
        world.state.put_login(&LoginRow { expires: at(11), ..login("l1", "") }).await.unwrap();
        assert_eq!(world.state.prune(at(10)).await.unwrap(), 2);
        let mut reading = world.state.read().await.unwrap();
        assert_eq!(reading.session("s1").await.unwrap().unwrap().used, at(7));
        assert_eq!(reading.session("s2").await.unwrap(), None);
        drop(reading);
        let mut act = begun(&world.state, "session.ended").await;
        assert!(act.delete_session("s1").await.unwrap());
        assert!(!act.delete_session("s2").await.unwrap());
        assert_eq!(act.delete_sessions("alice").await.unwrap(), 1);
        act.commit(at(1)).await.unwrap();
    }

    async fn decisions_are_kept_latest_first_and_pruned(world) {
        let row = |number: i64| DecisionRow {
            id: format!("d{number}"),
            time: at(number),
            person: "alice".to_owned(),
            action: "view".to_owned(),
            subject: "fleet".to_owned(),
            allowed: number % 2 == 0,
            body: "{}".to_owned(),
        };
        for number in [2, 1, 3] {
            world.state.put_decision(&row(number)).await.unwrap();
        }
        assert_eq!(world.state.prune(at(0)).await.unwrap(), 0);
        let latest = world.state.read().await.unwrap().decisions(2).await.unwrap();
        assert_eq!(latest, [row(3), row(2)]);
        let mut act = begun(&world.state, "bulk.put").await;
        for number in 4..=i64::from(state::DECISIONS_KEPT) + 2 {
            act.put_decision(&row(number)).await.unwrap();
        }
        act.commit(at(1)).await.unwrap();
        assert_eq!(world.state.prune(at(0)).await.unwrap(), 2);
        let all = world.state.read().await.unwrap().decisions(u32::MAX).await.unwrap();
        assert_eq!(all.len(), state::DECISIONS_KEPT as usize);
        assert_eq!(all.last(), Some(&row(3)));
    }
}
