//! Namespaces that come and go, and an agent that does.

use std::{
    io::ErrorKind,
    net::TcpListener,
    time::{Duration, Instant},
};

use practice::{
    host::Plan,
    stage::{Scene, Stage},
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;

use crate::{
    caller::{CONTAINER, Caller, Guest, INSTANCE, INSTANCE_V6, POD_IDENTITY, ROLES},
    file::File,
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
fn a_workload_that_listens_on_port_80_is_served_and_keeps_its_port() {
    play(name!(), &Scene::default(), |mut stage| {
        if let Err(error) = linux::Redirect::forwarded_alone().install() {
            return println!("skipped: no packet filter here: {error}");
        }
        File::new(&stage)
            .watching(&stage)
            .bind(&stage, "orders", "netns = \"orders\"", "")
            .metadata("port = 16980")
            .restart(&mut stage);
        let orders = guest(&stage, "orders");
        let own = orders.namespace.run(|| TcpListener::bind("[::]:80").unwrap()).unwrap();
        assert_eq!(orders.credentials().1.status, 200);
        let mut line = Line::over(orders.connect(INSTANCE_V6).unwrap());
        assert_eq!(line.get(ROLES, &orders.token()).body, "orders");
        // What asks for the workload itself gets the workload.
        let _client = orders.connect("127.0.0.1:80".parse().unwrap()).unwrap();
        assert!(own.accept().unwrap().1.ip().to_canonical().is_loopback());
    });
}

fn status(stage: &Stage) -> Value {
    stage.agent.command(&["status"]).unwrap()
}

#[test]
fn a_namespace_that_is_gone_is_closed_and_what_runs_on_in_it_reaches_nobody_else() {
    play(name!(), &Scene::default(), |stage| {
        let mut orders = guest(&stage, "orders");
        let (mut open, token) = (orders.line(), orders.token());
        orders.credentials();
        let served = || status(&stage)["namespaces"].as_array().unwrap().len();
        assert_eq!(served(), 1);
        // The test holds the namespace itself open, so what is asked below is asked in there.
        orders.workload.forget_namespace();
        until("the end of the doors", || orders.connect(INSTANCE).is_err());
        assert!(open.ask("GET", ROLES, &[(crate::http::TOKEN, &token)]).is_err());
        assert_eq!(served(), 0);
        // The addresses are there still: without them the network would be unreachable.
        for door in [INSTANCE, INSTANCE_V6, CONTAINER, POD_IDENTITY] {
            assert_eq!(orders.connect(door).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        let leases = &status(&stage)["leases"];
        assert_eq!(leases["held"], 0, "{leases}");
        // Its name is free for another namespace.
        drop(orders);
        assert_eq!(guest(&stage, "orders").credentials().0, "orders");
    });
}

#[test]
fn namespaces_that_were_there_before_the_agent_are_served_when_it_says_that_it_is_ready() {
    play(name!(), &Scene::default(), |mut stage| {
        stage.agent.stop().unwrap();
        let guest = |number| {
            let plan = Plan::new(&format!("orders-{number}")).without_link();
            Guest::new(stage.workspace.add(&plan).unwrap())
        };
        let guests: Vec<Guest> = (0..20).map(guest).collect();
        assert!(guests.iter().all(|guest| guest.connect(INSTANCE).is_err()));
        stage.agent.resume().unwrap();
        for guest in &guests {
            guest.connect(INSTANCE).unwrap();
        }
        assert_eq!(guests[0].credentials().0, "orders");
    });
}

#[test]
fn a_namespace_that_cannot_be_served_is_shown_and_tried_again_and_stops_nobody() {
    play(name!(), &Scene::default(), |mut stage| {
        stage.agent.stop().unwrap();
        let add =
            |name: &str| Guest::new(stage.workspace.add(&Plan::new(name).without_link()).unwrap());
        let (orders, mut short, billing) = (add("orders"), add("orders-short"), add("billing"));
        let take = |guest: &Guest| guest.namespace.run(|| TcpListener::bind("0.0.0.0:80").unwrap());
        let (taken, _taken) = (take(&orders).unwrap(), take(&short).unwrap());

        stage.agent.resume().unwrap();
        billing.connect(INSTANCE).unwrap();
        let unserved = || status(&stage)["unserved"].as_array().unwrap().clone();
        let waiting = unserved();
        assert_eq!(waiting.len(), 2, "{waiting:?}");
        assert_eq!(
            (&waiting[0]["name"], &waiting[1]["name"]),
            (&"orders".into(), &"orders-short".into())
        );
        let reason = waiting[0]["reason"].as_str().unwrap();
        assert!(reason.contains("a program listens on port 80"), "{reason}");
        assert_eq!(status(&stage)["namespaces"].as_array().unwrap().len(), 1);

        short.workload.forget_namespace();
        until("the end of one", || unserved().len() == 1);
        drop(taken);
        let orders = orders.served();
        assert_eq!(orders.credentials().0, "orders");
        until("the end of the other", || unserved().is_empty());
        assert_eq!(status(&stage)["namespaces"].as_array().unwrap().len(), 2);
        let said = stage.agent.said();
        assert_eq!(said.matches("namespace `orders` is not served: ").count(), 1, "{said}");
        assert!(said.contains("namespace `orders` is served now"), "{said}");
    });
}

#[test]
fn a_shortage_of_descriptors_closes_no_door_and_what_came_meanwhile_is_served_afterwards() {
    play(name!(), &Scene::default(), |stage| {
        let orders = guest(&stage, "orders");
        orders.credentials();
        let (mut open, token) = (orders.line(), orders.token());
        let id = Pid::from_raw(i32::try_from(stage.agent.id().unwrap()).unwrap()).unwrap();
        // Its own limit is what this process may have at the most.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let limit = |current| {
            prlimit(Some(id), Resource::Nofile, Rlimit { current, maximum }).unwrap();
        };
        limit(Some(0));

        let plan = Plan::new("billing").without_link();
        let billing = Guest::new(stage.workspace.add(&plan).unwrap());
        let told = "new namespaces are not served until this ends: ";
        until("the report", || stage.agent.said().contains(told));
        let headers = [(crate::http::TOKEN, token.as_str())];
        assert_eq!(open.ask("GET", ROLES, &headers).unwrap().body, "orders");

        limit(maximum);
        let billing = billing.served();
        assert_eq!(billing.credentials().0, "billing");
        assert_eq!(open.ask("GET", ROLES, &headers).unwrap().body, "orders");
        let status = status(&stage);
        assert_eq!(status["namespaces"].as_array().unwrap().len(), 2, "{status}");
        assert_eq!(
            (&status["unserved"], &status["watch_fault"]),
            (&Value::Array(vec![]), &Value::Null)
        );
        assert_eq!(stage.agent.said().matches(told).count(), 1);
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
