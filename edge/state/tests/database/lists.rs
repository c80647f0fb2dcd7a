//! Lists are read page by page, each row once, in one order on both databases.

use state::{
    AccountRow, ApplicationRow, BindingFilter, BindingRow, BindingStatus, GroupRow, HostRow,
    IssuerKeyRow, JoinRuleRow, JoinTokenRow, PersonRow, PolicyRow, PositionRow, Reading, Report,
    SealedRow, SeenRow, State, StateError, WorkloadFilter,
};

use crate::world::{at, begun, draft, on_both};

/// Names in the order of their bytes, which is no language's order.
const NAMES: [&str; 7] = ["A-b", "B", "a", "a-b", "a1", "ab", "é"];

/// Reads a whole list in pages of each size, and looks whether it is the same each time.
macro_rules! check {
    ($state:expr, $expected:expr, |$reading:ident, $after:ident, $limit:ident| $page:expr, $key:expr) => {{
        let expected: Vec<String> = $expected;
        for $limit in [1_u32, 2, 3, 100] {
            let $reading: &mut Reading = &mut $state.read().await.unwrap();
            let (mut all, mut last) = (Vec::new(), None);
            loop {
                let $after = last.as_ref();
                let page = $page.await.unwrap();
                assert!(page.len() <= $limit as usize);
                let Some(end) = page.last() else { break };
                let key = $key;
                last = Some(key(end));
                all.extend(page.iter().map(|row| format!("{:?}", key(row))));
            }
            assert_eq!(all, expected, "in pages of {}", $limit);
        }
    }};
}

fn shown<T: std::fmt::Debug>(keys: impl IntoIterator<Item = T>) -> Vec<String> {
    keys.into_iter().map(|key| format!("{key:?}")).collect()
}

fn text(of: &str) -> String {
    of.to_owned()
}

async fn put_named(state: &State) {
    let mut act = begun(state, "all.put").await;
    // Put in another order than they are read.
    for name in NAMES.iter().rev() {
        let (body, changed) = (text("{}"), at(1));
        act.put_application(&ApplicationRow {
            application: text(name),
            owner: text("team"),
            body: body.clone(),
            changed,
        })
        .await
        .unwrap();
        let account = AccountRow {
            account: text(name),
            application: (*name == "a").then(|| text("a")),
            environment: None,
            body: body.clone(),
            changed,
        };
        act.put_account(&account).await.unwrap();
        act.put_group(&GroupRow { name: text(name), body: body.clone(), changed }).await.unwrap();
        act.put_join_rule(&JoinRuleRow { rule: text(name), body: body.clone(), changed })
            .await
            .unwrap();
        let person =
            PersonRow { person: text(name), body, disabled: None, last_login: Some(at(2)) };
        act.put_person(&person).await.unwrap();
    }
    act.commit(at(1)).await.unwrap();
}

on_both! {
    async fn what_has_a_name_is_listed_by_its_bytes(world) {
        put_named(&world.state).await;
        let all = || shown(NAMES.map(text));
        let name = |after: Option<&String>| after.cloned();
        check!(world.state, all(), |it, after, limit| it.applications(name(after).as_deref(), limit),
            |row: &ApplicationRow| row.application.clone());
        check!(world.state, all(), |it, after, limit| it.accounts(name(after).as_deref(), limit),
            |row: &AccountRow| row.account.clone());
        check!(world.state, all(), |it, after, limit| it.groups(name(after).as_deref(), limit),
            |row: &GroupRow| row.name.clone());
        check!(world.state, all(), |it, after, limit| it.join_rules(name(after).as_deref(), limit),
            |row: &JoinRuleRow| row.rule.clone());
        check!(world.state, all(), |it, after, limit| it.people(name(after).as_deref(), limit),
            |row: &PersonRow| row.person.clone());
    }

    async fn hosts_are_listed_with_their_reports(world) {
        let mut act = begun(&world.state, "host.joined").await;
        let host = |name: &str| HostRow {
            host: text(name),
            name: text("web"),
            body: text("{}"),
            joined: at(1),
            certificate_expires: at(9),
            revoked: None,
        };
        for name in NAMES.iter().rev() {
            act.put_host(&host(name)).await.unwrap();
        }
        act.commit(at(1)).await.unwrap();
        // One that is no host of ours lies between them.
        for name in ["B", "a-a", "é"] {
            let report = Report {
                host: text(name),
                boot: text("b"),
                sequence: 1,
                received: at(4),
                version: text("1"),
                orders: None,
                workloads: Vec::new(),
            };
            world.state.put_report(&report).await.unwrap();
        }
        let reported = ["B", "é"];
        let all = NAMES.map(|name| (text(name), reported.contains(&name)));
        check!(world.state, shown(all),
            |it, after, limit| it.hosts(after.map(|(host, _): &(String, bool)| host.as_str()), limit),
            |(host, report): &(HostRow, Option<state::ReportRow>)| {
                assert!(report.as_ref().is_none_or(|report| report.host == host.host));
                (host.host.clone(), report.is_some())
            });
        let mut act = begun(&world.state, "host.renewed").await;
        assert!(act.renew_host("a", at(20)).await.unwrap());
        act.put_host(&HostRow { revoked: Some(at(2)), ..host("B") }).await.unwrap();
        assert!(!act.renew_host("B", at(20)).await.unwrap());
        act.commit(at(1)).await.unwrap();
        let knowledge = world.state.read().await.unwrap().knowledge().await.unwrap();
        assert_eq!(knowledge.hosts.len(), NAMES.len());
        assert_eq!(knowledge.hosts[1].revoked, Some(at(2)));
        assert_eq!(knowledge.hosts[2].certificate_expires, at(20));
    }

    async fn join_tokens_are_listed_latest_first(world) {
        let mut act = begun(&world.state, "join-token.made").await;
        let token = |id: &str, made: i64| JoinTokenRow {
            id: text(id),
            secret_hash: text("h"),
            uses: 1,
            used: 0,
            made: at(made),
            expires: at(100),
            revoked: None,
            body: text("{}"),
        };
        let made = [("a", 3), ("c", 2), ("b", 2), ("a2", 2), ("z", 1)];
        for (id, made) in made.iter().rev() {
            act.put_join_token(&token(id, *made)).await.unwrap();
        }
        act.commit(at(1)).await.unwrap();
        check!(world.state, shown(made.map(|(id, made)| (at(made), text(id)))),
            |it, after, limit| it.join_tokens(after, limit),
            |row: &JoinTokenRow| (row.made, row.id.clone()));
    }

    async fn bindings_are_listed_by_application_environment_and_version(world) {
        let mut act = begun(&world.state, "binding.put").await;
        let mut all = Vec::new();
        for (application, environment) in [("a", "prod"), ("a", "test"), ("a-b", "prod"), ("ab", "prod")] {
            for (version, status) in [
                (1, BindingStatus::Superseded),
                (2, BindingStatus::InForce),
                (10, BindingStatus::Proposed),
            ] {
                let [application, environment] = [application, environment].map(str::to_owned);
                let row = BindingRow { application, environment, version, status, body: text("{}") };
                act.put_binding(&row).await.unwrap();
                all.push(row);
            }
        }
        assert_eq!(act.next_binding_version("a", "prod").await.unwrap(), 11);
        assert_eq!(act.next_binding_version("b", "prod").await.unwrap(), 1);
        act.commit(at(1)).await.unwrap();
        let key = |row: &BindingRow| (row.application.clone(), row.environment.clone(), row.version);
        let filter = |application: &str, environment: &str, status| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            BindingFilter { application: given(application), environment: given(environment), status }
        };
        for filter in [
            filter("", "", None),
            filter("a", "", None),
            filter("a", "test", None),
            filter("", "prod", Some(BindingStatus::InForce)),
            filter("", "", Some(BindingStatus::Rejected)),
        ] {
            let fits = |row: &&BindingRow| {
                filter.application.as_ref().is_none_or(|wanted| *wanted == row.application)
                    && filter.environment.as_ref().is_none_or(|wanted| *wanted == row.environment)
                    && filter.status.is_none_or(|wanted| wanted == row.status)
            };
            check!(world.state, shown(all.iter().filter(fits).map(key)),
                |it, after, limit| it.bindings(&filter, after, limit), key);
        }
        let mut reading = world.state.read().await.unwrap();
        let in_force = reading.binding_in_force("a", "test").await.unwrap().unwrap();
        assert_eq!(in_force.version, 2);
        assert_eq!(reading.knowledge().await.unwrap().bindings.len(), 4);
    }

    async fn positions_are_listed_latest_first_and_one_of_a_scope_lives(world) {
        let mut act = begun(&world.state, "switch.set").await;
        let position = |id: u64, ended: bool| PositionRow {
            id,
            scope: format!("s{}", id % 5),
            body: text("{}"),
            set_at: at(1),
            expires: Some(at(5)),
            ended: ended.then(|| at(2)),
            ended_how: ended.then(|| text("cleared")),
        };
        for id in 1..=9 {
            act.put_position(&position(id, id <= 4)).await.unwrap();
        }
        assert_eq!(act.next_position().await.unwrap(), 10);
        assert_eq!(act.live_position("s1").await.unwrap(), Some(position(6, false)));
        act.commit(at(1)).await.unwrap();
        let key = |row: &PositionRow| row.id;
        check!(world.state, shown((5..=9).rev()),
            |it, after, limit| it.positions(false, after.copied(), limit), key);
        check!(world.state, shown((1..=9).rev()),
            |it, after, limit| it.positions(true, after.copied(), limit), key);
        let live = world.state.read().await.unwrap().knowledge().await.unwrap().positions;
        assert_eq!(live, (5..=9).rev().map(|id| position(id, false)).collect::<Vec<_>>());
        let mut act = begun(&world.state, "switch.set").await;
        let second = act.put_position(&PositionRow { id: 11, ..position(6, false) }).await;
        assert!(matches!(second, Err(StateError::Conflict { .. })), "{second:?}");
    }

    async fn workloads_are_listed_by_id_and_host(world) {
        let mut all = Vec::new();
        for host in ["h2", "h1"] {
            let seen = NAMES.map(|name| SeenRow {
                workload: format!("{name}/p/1"),
                application: text(name),
                environment: text("p"),
                body: text("{}"),
            });
            all.extend(seen.iter().map(|seen| (seen.workload.clone(), text(host))));
            let report = Report {
                host: text(host),
                boot: text("b"),
                sequence: 1,
                received: at(4),
                version: text("1"),
                orders: None,
                workloads: seen.to_vec(),
            };
            world.state.put_report(&report).await.unwrap();
        }
        all.sort();
        let filter = WorkloadFilter::default();
        check!(world.state, shown(all), |it, after, limit| it.workloads(&filter, after, limit),
            |row: &state::WorkloadRow| (row.workload.clone(), row.host.clone()));
    }

    async fn entries_and_checkpoints_are_listed_as_they_were_written(world) {
        let time: jiff::Timestamp = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        let mut act = world.state.act().await.unwrap();
        let mut entries = Vec::new();
        for _ in 0..5 {
            entries.push(act.record(draft("test.recorded"), time).await.unwrap());
        }
        act.commit(time).await.unwrap();
        check!(world.state, shown(1..=5_u64),
            |it, after, limit| it.entries(after.copied().unwrap_or(0), limit),
            |entry: &ledger::Entry| entry.seq);
        let read = world.state.read().await.unwrap().entries(0, 10).await.unwrap();
        assert_eq!(read, entries);
        let signed = |entry: &ledger::Entry, second| {
            let statement = ledger::Statement { tail: entry.tail(), time: at(second), key: text("k") };
            statement.signed(b"signature")
        };
        let mut all = vec![signed(&entries[1], 1), signed(&entries[1], 2), signed(&entries[4], 3)];
        // A checkpoint says what is: it needs no entry.
        let mut act = world.state.act().await.unwrap();
        for checkpoint in &all {
            act.put_checkpoint(checkpoint).await.unwrap();
        }
        act.commit(at(9)).await.unwrap();
        all.reverse();
        check!(world.state, shown(all), |it, after, limit| it.checkpoints(after, limit),
            |checkpoint: &ledger::Checkpoint| checkpoint.clone());
    }

    async fn keys_policies_and_secrets_are_part_of_what_is_known(world) {
        let key = IssuerKeyRow { kid: text("k1"), state: text("next"), body: text("{}"), sealed: None };
        let signing = IssuerKeyRow { state: text("signing"), sealed: Some(text("c2VhbGVk")), ..key.clone() };
        let sealed = SealedRow { name: text("authority"), sealed: text("c2VhbGVk"), body: text("{}") };
        let policy = |version| PolicyRow {
            version,
            text: format!("permit({version});"),
            actor: text("alice"),
            reason: text("because"),
            since: at(1),
        };
        let mut act = begun(&world.state, "keys.put").await;
        act.put_issuer_key(&key).await.unwrap();
        act.put_issuer_key(&signing).await.unwrap();
        act.put_issuer_key(&IssuerKeyRow { kid: text("k2"), ..key.clone() }).await.unwrap();
        assert!(act.delete_issuer_key("k2").await.unwrap());
        act.put_sealed(&sealed).await.unwrap();
        act.put_policies(&policy(1)).await.unwrap();
        act.put_policies(&policy(2)).await.unwrap();
        act.commit(at(1)).await.unwrap();
        let mut reading = world.state.read().await.unwrap();
        let knowledge = reading.knowledge().await.unwrap();
        assert_eq!(knowledge.issuer_keys, [signing]);
        assert_eq!(knowledge.sealed, [sealed]);
        assert_eq!(knowledge.policies, Some(policy(2)));
        assert_eq!(reading.policies_of(1).await.unwrap(), Some(policy(1)));
        drop(reading);
        let mut act = begun(&world.state, "policies.put").await;
        let again = act.put_policies(&policy(2)).await;
        assert!(matches!(again, Err(StateError::Conflict { .. })), "{again:?}");
    }

    async fn what_is_deleted_is_gone(world) {
        put_named(&world.state).await;
        let mut act = begun(&world.state, "all.deleted").await;
        assert!(act.delete_application("a").await.unwrap());
        assert!(!act.delete_application("a").await.unwrap());
        assert!(act.delete_account("a").await.unwrap());
        assert!(act.delete_group("a").await.unwrap());
        assert!(act.delete_join_rule("a").await.unwrap());
        act.commit(at(1)).await.unwrap();
        let mut reading = world.state.read().await.unwrap();
        assert_eq!(reading.application("a").await.unwrap(), None);
        assert_eq!(reading.account("a").await.unwrap(), None);
        assert_eq!(reading.group("a").await.unwrap(), None);
        assert_eq!(reading.join_rule("a").await.unwrap(), None);
        assert_eq!(reading.applications(None, 100).await.unwrap().len(), NAMES.len() - 1);
    }
}
