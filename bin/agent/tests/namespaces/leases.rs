//! Leases under load and with STS in trouble, which a proxy makes.

use std::{
    thread,
    time::{Duration, Instant},
};

use practice::{
    proxy::{Mode, Proxy},
    stage::{Scene, Stage},
};

use crate::{
    caller::{Caller, ROLES, Resident},
    file::File,
    stage::{calls_for, guest, name, play, play_with_cgroups, role_of, until},
};

/// What SDKs grant a request.
const SECOND: Duration = Duration::from_secs(1);

/// Lets the agent reach STS through a proxy alone.
fn through_proxy(stage: &mut Stage, rule: impl Fn(&str) -> String) -> Proxy {
    let proxy =
        Proxy::start(stage.workspace.cloud_address(), stage.cloud.address().unwrap()).unwrap();
    let mut file = File::new(stage).sts(format!("http://{}", proxy.address())).watching(stage);
    for name in ["orders", "billing"] {
        file = file.bind(stage, name, &rule(name), "");
    }
    file.restart(stage);
    proxy
}

fn by_namespace(name: &str) -> String {
    format!("netns = \"{name}{{,-*}}\"")
}

/// A rule that a namespace alone does not satisfy: nothing is fetched before somebody asks.
fn by_both(name: &str) -> String {
    format!("netns = \"{name}\", cgroup = \"/rolecall-practice-*/{name}\"")
}

#[test]
fn a_slow_sts_gets_the_client_a_503_within_its_second_and_the_fetch_goes_on() {
    play(name!(), &Scene::default(), |mut stage| {
        let proxy = through_proxy(&mut stage, by_namespace);
        proxy.set(Mode::Delay(Duration::from_millis(2500))).unwrap();
        let orders = guest(&stage, "orders");
        let token = orders.token();
        let path = format!("{ROLES}orders");
        let asked = Instant::now();
        let answer = orders.get(&path, &token);
        assert_eq!((answer.status, asked.elapsed() < SECOND), (503, true), "{answer:?}");
        assert!(!answer.body.contains("AccessKeyId"), "{answer:?}");
        // Every next attempt is answered in time as well, and one of them finds the lease.
        until("the lease", || {
            let asked = Instant::now();
            let answer = orders.get(&path, &token);
            assert!(asked.elapsed() < SECOND, "{:?}", asked.elapsed());
            answer.status == 200
        });
        assert_eq!(stage.cloud.sts_calls().unwrap().len(), 1, "the first fetch brought it");
    });
}

#[test]
fn a_fetch_goes_on_when_its_only_client_hangs_up() {
    play_with_cgroups(name!(), &Scene::default(), |mut stage| {
        let proxy = through_proxy(&mut stage, by_both);
        let orders = guest(&stage, "orders");
        let resident = Resident::in_workload(&stage, &orders.workload);
        let token = resident.token();
        proxy.set(Mode::Delay(Duration::from_millis(600))).unwrap();
        let mut line = resident.line();
        let request = format!(
            "GET {ROLES}orders HTTP/1.1\r\nHost: 169.254.169.254\r\n\
             X-aws-ec2-metadata-token: {token}\r\n\r\n"
        );
        line.send(request.as_bytes()).unwrap();
        // The request has reached STS; then its only client goes.
        until("the fetch", || !stage.cloud.sts_calls().unwrap().is_empty());
        drop(line);
        // Nobody hears an answer, and the request is recorded all the same.
        let hung_up = || stage.agent.access().unwrap().iter().any(|line| line["status"] == 499);
        until("the line of who hung up", hung_up);
        let held = || stage.agent.command(&["status"]).unwrap()["leases"]["held"] == 1;
        until("the lease", held);
        assert_eq!(resident.credentials().1.status, 200);
        assert_eq!(stage.cloud.sts_calls().unwrap().len(), 1);
    });
}

#[test]
fn many_callers_of_a_new_lease_cost_one_call() {
    play(name!(), &Scene::default(), |mut stage| {
        let proxy = through_proxy(&mut stage, by_namespace);
        proxy.set(Mode::Delay(Duration::from_millis(500))).unwrap();
        let orders = guest(&stage, "orders");
        let token = orders.token();
        let path = format!("{ROLES}orders");
        let mut keys: Vec<String> = thread::scope(|scope| {
            let ask = || orders.get(&path, &token).key();
            let asking: Vec<_> = (0..64).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|one| one.join().unwrap()).collect()
        });
        keys.dedup();
        assert_eq!(keys.len(), 1, "{keys:?}");
        assert_eq!(calls_for(&stage, &role_of(&stage, "orders")), 1);
        assert_eq!(proxy.connections(), 1);
    });
}

#[test]
fn with_sts_down_nobody_who_holds_a_lease_sees_an_error() {
    play(name!(), &Scene::default(), |mut stage| {
        let proxy = through_proxy(&mut stage, by_namespace);
        let guests = [guest(&stage, "orders"), guest(&stage, "billing")];
        let keys = guests.each_ref().map(|it| it.credentials().1.key());
        let mut late = None;
        for mode in [Mode::Refuse, Mode::Hang, Mode::Reset, Mode::Unavailable, Mode::Throttle] {
            proxy.set(mode).unwrap();
            // One that has none yet keeps the agent busy with the broken STS.
            let newcomer = guest(&stage, &format!("orders-{mode:?}").replace(['(', ')'], ""));
            let token = newcomer.token();
            let answer = newcomer.get(&format!("{ROLES}orders"), &token);
            assert!(answer.status >= 500, "{mode:?}: {answer:?}");
            for _ in 0..50 {
                for (guest, key) in guests.iter().zip(&keys) {
                    let (role, answer) = guest.credentials();
                    assert_eq!((role.as_str(), &answer.key()), (guest.name(), key), "{mode:?}");
                }
            }
            late = Some(newcomer);
        }
        proxy.set(Mode::Pass).unwrap();
        // Whoever came during the outage has theirs soon after it.
        late.unwrap().credentials().1.key();
    });
}
