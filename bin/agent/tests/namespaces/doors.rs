//! Namespaces that come and go, and an agent that does.

use std::time::{Duration, Instant};

use practice::{host::Plan, stage::Scene};

use crate::{
    caller::{CONTAINER, Caller, Guest, INSTANCE, ROLES},
    http::Line,
    stage::{guest, name, play, until},
};

#[test]
fn a_new_namespace_is_served_within_a_second() {
    play(name!(), &Scene::default(), |stage| {
        let mut slowest = Duration::ZERO;
        for number in 0..10 {
            let plan = Plan::new(&format!("orders-{number}")).without_link();
            let workload = stage.workspace.add(&plan).unwrap();
            let there = Instant::now();
            let guest = Guest::new(workload).served();
            assert_eq!(guest.token_status(), 200);
            slowest = slowest.max(there.elapsed());
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    });
}

#[test]
fn a_namespace_that_is_gone_is_closed() {
    play(name!(), &Scene::default(), |stage| {
        let mut orders = guest(&stage, "orders");
        let (mut open, token) = (orders.line(), orders.token());
        orders.credentials();
        let served = |stage: &practice::stage::Stage| {
            stage.agent.command(&["status"]).unwrap()["namespaces"].as_array().unwrap().len()
        };
        assert_eq!(served(&stage), 1);
        // The test holds the namespace itself open, so what is asked below is asked in there.
        orders.workload.forget_namespace();
        until("the end of the doors", || orders.connect(INSTANCE).is_err());
        assert!(open.ask("GET", ROLES, &[(crate::http::TOKEN, &token)]).is_err());
        assert_eq!(served(&stage), 0);
        let leases = &stage.agent.command(&["status"]).unwrap()["leases"];
        assert_eq!(leases["held"], 0, "{leases}");
        // Its name is free for another namespace.
        drop(orders);
        assert_eq!(guest(&stage, "orders").credentials().0, "orders");
    });
}

#[test]
fn a_namespace_that_was_there_before_the_agent_is_served_from_its_start() {
    play(name!(), &Scene::default(), |mut stage| {
        stage.agent.stop().unwrap();
        let orders = Guest::new(stage.workspace.add(&Plan::new("orders").without_link()).unwrap());
        assert!(orders.connect(INSTANCE).is_err());
        stage.agent.resume().unwrap();
        assert_eq!(orders.served().credentials().0, "orders");
    });
}

#[test]
fn session_tokens_survive_a_crash_of_the_agent() {
    play(name!(), &Scene::default(), |mut stage| {
        let orders = guest(&stage, "orders");
        let token = orders.token();
        let first = orders.credentials().1.key();
        let resident = crate::caller::Resident::in_workload(&stage, &orders.workload);
        let variables = |stage: &practice::stage::Stage| {
            stage.agent.command(&["environment", "--pid", &resident.id().to_string()]).unwrap()
        };
        let before = variables(&stage);
        stage.agent.kill().unwrap();
        // Nobody is there, and the request does not travel on to somebody else either.
        let refused = orders.connect(INSTANCE).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        stage.agent.resume().unwrap();
        let orders = orders.served();
        assert_eq!(orders.get(ROLES, &token).body, "orders");
        assert_ne!(orders.credentials().1.key(), first, "leases are in memory alone");
        assert_eq!(variables(&stage), before);
        let text = |name: &str| before[name].as_str().unwrap().to_owned();
        let mut line = Line::over(orders.connect(CONTAINER).unwrap());
        let authorization = text("AWS_CONTAINER_AUTHORIZATION_TOKEN");
        let headers = [("Authorization", authorization.as_str())];
        let uri = text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        assert_eq!(line.ask("GET", &uri, &headers).unwrap().status, 200);
    });
}
