//! The agent dies, STS goes away, and programs that run notice nothing.

use std::time::{Duration, Instant};

use practice::clients::{Answer, Client};
use practice::program::Running;
use practice::proxy::{Mode, Proxy};
use practice::stage::{REGION, Scene, Stage};

use crate::cast::{Actor, LIMIT, Way, held, name, on_stage, until};

/// Those that ask again and again with the one provider that they have.
const LONG_LIVED: [(Client, Way); 8] = [
    (Client::Python, Way::Instance),
    (Client::Python, Way::Ecs),
    (Client::Java, Way::Instance),
    (Client::Js, Way::Instance),
    (Client::Js, Way::PodIdentity),
    (Client::Go, Way::Instance),
    (Client::Go, Way::Ecs),
    (Client::Rust, Way::Instance),
];

/// Each of them gives so many more right answers; it ends with its first error.
#[track_caller]
fn go_on(stage: &Stage, actor: &Actor, running: &mut [(Client, Running)], answers: u32) {
    for (client, running) in running {
        for _ in 0..answers {
            let line = running.line(LIMIT, |_| true).unwrap();
            actor.check_answer(stage, *client, &Answer::parse(&line).unwrap());
        }
    }
}

#[test]
fn programs_that_run_do_not_notice_that_the_agent_is_killed_and_started_again() {
    // With so short a lease boto3 and the SDK for Java ask the agent before every call.
    let scene = Scene::default().binding("duration_minutes = 15");
    on_stage(name!(), &Client::ALL, &scene, |mut stage| {
        let actor = Actor::leased(&stage, "orders-1");
        let place = |invocation| actor.workload.place(invocation);
        let mut running: Vec<_> = LONG_LIVED
            .into_iter()
            .map(|(client, way)| {
                let errand = actor.errand(&stage, way);
                let every = Duration::from_millis(100);
                let running = client.start(&stage.tools, &errand, &place, 100_000, every);
                (client, running.unwrap())
            })
            .collect();
        go_on(&stage, &actor, &mut running, 2);
        for end in [practice::agent::Agent::kill, practice::agent::Agent::stop] {
            end(&mut stage.agent).unwrap();
            let served = actor.served_at(&stage).len();
            go_on(&stage, &actor, &mut running, 3);
            stage.agent.resume().unwrap();
            // They have asked the new one, and got something.
            until(|| actor.served_at(&stage).len() > served + 2);
            go_on(&stage, &actor, &mut running, 3);
        }
        for client in Client::ALL {
            actor.check(&stage, client, Way::Instance);
        }
        let calls = actor.sts_calls(&stage);
        assert!(calls.len() >= 3 && calls.iter().all(|call| call.allowed()), "{calls:#?}");
    });
}

/// Lets the agent ask STS through a proxy; clients go to the cloud as before.
fn with_proxy(stage: &mut Stage, scene: &Scene) -> Proxy {
    let cloud = stage.cloud.address().unwrap();
    let proxy = Proxy::start(stage.workspace.cloud_address(), cloud).unwrap();
    let scene = scene.clone().sts(format!("http://{}", proxy.address()));
    let key = stage.workspace.folder().join("host.key");
    let config = scene.config(&stage.cloud, &stage.workspace, &key, None);
    stage.agent.stop().unwrap();
    stage.agent.plan().write(REGION, &config).unwrap();
    stage.agent.resume().unwrap();
    proxy
}

#[test]
fn clients_start_without_an_error_while_sts_is_down_and_leases_are_held() {
    on_stage(name!(), &Client::ALL, &Scene::default(), |mut stage| {
        let proxy = with_proxy(&mut stage, &Scene::default());
        let actors = ["orders-1", "billing-1"].map(|name| Actor::leased(&stage, name));
        let quick = [Client::Go, Client::Rust];
        let modes: [(Mode, &[Client]); 5] = [
            (Mode::Refuse, &Client::ALL),
            (Mode::Hang, &Client::ALL),
            (Mode::Unavailable, &quick),
            (Mode::Throttle, &quick),
            (Mode::Reset, &quick),
        ];
        for (round, (mode, clients)) in modes.into_iter().enumerate() {
            proxy.set(mode).unwrap();
            // Somebody is without a lease all the while, so that STS is asked and fails.
            let _hungry = Actor::known(&stage, &format!("orders-hungry-{round}"));
            std::thread::scope(|scope| {
                for actor in &actors {
                    scope.spawn(|| {
                        for (turn, client) in clients.iter().enumerate() {
                            actor.check(&stage, *client, Way::ALL[(round + turn) % 6]);
                        }
                    });
                }
            });
        }
        assert_eq!(held(&stage), 2);
        for actor in &actors {
            assert_eq!(actor.sts_calls(&stage).len(), 1);
        }
    });
}

#[test]
fn a_slow_sts_gets_the_client_an_answer_within_a_second_and_the_fetch_goes_on() {
    on_stage(name!(), &[Client::Python], &Scene::default(), |mut stage| {
        let proxy = with_proxy(&mut stage, &Scene::default());
        proxy.set(Mode::Delay(Duration::from_secs(8))).unwrap();
        let begun = Instant::now();
        let actor = Actor::known(&stage, "orders-1");
        let error = actor.run(&stage, Client::Python, Way::Instance).unwrap_err().to_string();
        assert!(error.contains("Unable to locate credentials"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(8), "the client waited for STS");
        let mut waited = None;
        until(|| {
            let lines = stage.agent.access().unwrap();
            let refused = lines.iter().find(|line| line["status"] == 503);
            waited = refused.and_then(|line| line["duration_us"].as_u64());
            waited.is_some()
        });
        assert!(waited < Some(1_000_000), "{waited:?} µs");
        // Nobody waits for it any more, and it comes all the same: by the one call that was begun.
        until(|| held(&stage) == 1);
        actor.check(&stage, Client::Python, Way::Instance);
        assert_eq!(actor.sts_calls(&stage).len(), 1);
    });
}

#[test]
fn a_client_that_found_no_sts_gets_its_role_once_sts_is_back() {
    on_stage(name!(), &[Client::Go], &Scene::default(), |mut stage| {
        let proxy = with_proxy(&mut stage, &Scene::default());
        proxy.set(Mode::Refuse).unwrap();
        let actor = Actor::known(&stage, "orders-1");
        assert!(actor.run(&stage, Client::Go, Way::Ecs).is_err());
        proxy.set(Mode::Pass).unwrap();
        until(|| held(&stage) == 1);
        actor.check(&stage, Client::Go, Way::Ecs);
    });
}
