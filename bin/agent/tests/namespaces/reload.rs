//! The file read again while clients are connected.

use practice::stage::{REGION, Scene, Stage};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    caller::{Caller, ROLES},
    file::File,
    stage::{calls_for, guest, name, play, role_of, until},
};

const ORDERS: &str = "netns = \"orders\"";

#[test]
fn a_reload_changes_the_role_without_dropping_a_connection() {
    play(name!(), &Scene::default(), |stage| {
        let (orders, billing) = (guest(&stage, "orders"), guest(&stage, "billing"));
        let mut line = orders.line();
        let token = line.token();
        let (before, kept) = (orders.credentials().1.key(), billing.credentials().1.key());
        assert_eq!(line.get(ROLES, &token).body, "orders");

        let lent = stage.cloud.application("orders").unwrap().lent_role_arn.clone();
        let file = File::new(&stage).watching(&stage).lend(&stage, "orders", ORDERS);
        // Word for word as it was, so that its lease goes on.
        file.bind(&stage, "billing", "netns = \"billing{,-*}\"", "").write(&stage);
        let said = stage.agent.command(&["reload"]).unwrap();
        assert_eq!([&said["generation"], &said["bindings"]], [2, 2]);
        assert_eq!(said["needs_restart"].as_array().map(Vec::len), Some(0), "{said}");

        // The same connection, the same session token, another role.
        assert_eq!(line.get(ROLES, &token).body, "orders-lent");
        assert_eq!(line.get(&format!("{ROLES}orders"), &token).status, 404);
        let (role, answer) = orders.credentials();
        assert_eq!(role, "orders-lent");
        assert_ne!(answer.key(), before);
        assert_eq!(line.get(&format!("{ROLES}orders-lent"), &token).status, 200);
        assert_eq!(calls_for(&stage, &lent), 1);
        // Whose binding is the same notices nothing.
        assert_eq!(billing.credentials().1.key(), kept);
        assert_eq!(calls_for(&stage, &role_of(&stage, "billing")), 1);
    });
}

#[test]
fn a_reload_fetches_ahead_for_namespaces_that_are_served_already() {
    play(name!(), &Scene::default(), |stage| {
        let _web = guest(&stage, "web");
        let status = || stage.agent.command(&["status"]).unwrap();
        assert!(status()["namespaces"][0]["workload"].is_null());
        File::new(&stage)
            .watching(&stage)
            .bind(&stage, "orders", "netns = \"web\"", "")
            .write(&stage);
        stage.agent.command(&["reload"]).unwrap();
        assert_eq!(status()["namespaces"][0]["workload"], "orders/practice/web");
        until("the lease that nobody asked for", || status()["leases"]["held"] == 1);
        // And back: the lease goes with the name.
        File::new(&stage).watching(&stage).write(&stage);
        stage.agent.command(&["reload"]).unwrap();
        assert_eq!(status()["leases"]["held"], 0);
        assert!(status()["namespaces"][0]["workload"].is_null());
    });
}

/// Spoils the file and returns the line that is wrong.
fn spoil(stage: &Stage) -> usize {
    let rest = "[[binding]]\napplication = \"orders\"\nimdsv1 = \"maybe\"\n";
    stage.agent.plan().write(REGION, rest).unwrap();
    let text = std::fs::read_to_string(stage.agent.plan().config()).unwrap();
    1 + text.lines().position(|line| line.starts_with("imdsv1")).unwrap()
}

#[test]
fn a_broken_file_is_refused_with_its_line_and_the_old_one_stays() {
    play(name!(), &Scene::default(), |stage| {
        let orders = guest(&stage, "orders");
        let mut line = orders.line();
        let token = line.token();
        let key = orders.credentials().1.key();
        let wrong = spoil(&stage);
        let reason =
            format!("agent.toml:{wrong}:10: invalid type: string \"maybe\", expected a boolean");

        let refused = stage.agent.attempt(&["reload"]).unwrap();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(&reason), "{}", refused.stderr);
        // By signal there is nobody to answer, so it is told to the operator.
        let id = Pid::from_raw(i32::try_from(stage.agent.id().unwrap()).unwrap()).unwrap();
        kill_process(id, Signal::HUP).unwrap();
        until("the report", || stage.agent.said().contains(&reason));
        assert!(stage.agent.said().contains("the old file stays in force"));

        assert_eq!(line.get(&format!("{ROLES}orders"), &token).key(), key);
        assert_eq!(stage.cloud.sts_calls().unwrap().len(), 1);
    });
}

#[test]
fn what_only_a_start_puts_in_force_is_named() {
    play(name!(), &Scene::default(), |stage| {
        let file = File::new(&stage).watching(&stage).bind(&stage, "orders", ORDERS, "");
        file.metadata("connections_max = 7").sts("http://127.0.0.1:9").write(&stage);
        let said = stage.agent.command(&["reload"]).unwrap();
        assert_eq!(said["needs_restart"], serde_json::json!(["metadata", "sts"]));
    });
}

#[test]
fn v1_is_off_unless_the_binding_says_otherwise_and_is_counted_by_workload() {
    play(name!(), &Scene::default(), |stage| {
        let (orders, billing) = (guest(&stage, "orders"), guest(&stage, "billing"));
        let v1 = |guest: &crate::caller::Guest, times: usize| -> Vec<u16> {
            let mut line = guest.line();
            (0..times).map(|_| line.ask("GET", ROLES, &[]).unwrap().status).collect()
        };
        assert_eq!(v1(&orders, 3), [401, 401, 401]);
        let file = File::new(&stage).watching(&stage);
        file.bind(&stage, "orders", ORDERS, "imdsv1 = true")
            .bind(&stage, "billing", "netns = \"billing\"", "")
            .write(&stage);
        stage.agent.command(&["reload"]).unwrap();
        assert_eq!(v1(&orders, 2), [200, 200]);
        assert_eq!(v1(&billing, 1), [401]);
        let status = stage.agent.command(&["status"]).unwrap();
        let counted = |id: &str| status["counters"]["notes"][id]["v1"].clone();
        assert_eq!(counted("orders/practice/orders"), 5);
        assert_eq!(counted("billing/practice/billing"), 1);
    });
}

#[test]
fn a_switch_that_is_turned_off_ends_the_lease_at_once() {
    play(name!(), &Scene::default(), |stage| {
        let orders = guest(&stage, "orders");
        let mut line = orders.line();
        let token = line.token();
        let key = orders.credentials().1.key();
        let path = format!("{ROLES}orders");
        let turn = |position: &str| {
            let more = format!("switch = {position:?}");
            let file = File::new(&stage).watching(&stage);
            file.bind(&stage, "orders", ORDERS, &more).write(&stage);
            stage.agent.command(&["reload"]).unwrap();
        };
        turn("off");
        assert_eq!(line.get(&path, &token).status, 404);
        assert_eq!(stage.agent.command(&["status"]).unwrap()["leases"]["held"], 0);
        turn("on");
        assert_ne!(orders.credentials().1.key(), key);
    });
}
