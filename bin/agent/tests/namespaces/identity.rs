//! Who is who: the kernel's word, and nothing that a caller says.

use std::time::Duration;

use practice::{
    host::Plan,
    program::Invocation,
    stage::{Scene, Stage},
};
use serde_json::json;

use crate::{
    caller::{
        Caller, Guest, INSTANCE, INSTANCE_V6, ROLES, Resident, in_cgroup_alone, in_namespace_alone,
    },
    http::Line,
    stage::{calls_for, guest, name, play, play_with_cgroups, role_of},
};

/// How long a program of the system may take.
const LIMIT: Duration = Duration::from_secs(10);
/// What SDKs begin with.
const PUT_TOKEN: &str = "PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\n\
    X-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";

#[test]
fn one_source_address_in_two_namespaces_is_two_workloads() {
    play(name!(), &Scene::default(), |stage| {
        let guests = ["orders", "billing"].map(|name| {
            let plan = Plan::new(name).without_link().address("10.77.255.1".parse().unwrap());
            Guest::new(stage.workspace.add(&plan).unwrap()).served()
        });
        // Both are open at once: for the agent they have equal addresses and ports at both ends.
        let from = "10.77.255.1:40000".parse().unwrap();
        let mut lines = guests.each_ref().map(|it| Line::over(it.connect_from(from, INSTANCE)));
        assert_eq!(
            lines[0].stream().local_addr().unwrap(),
            lines[1].stream().local_addr().unwrap()
        );
        assert_eq!(lines[0].stream().peer_addr().unwrap(), lines[1].stream().peer_addr().unwrap());
        let tokens = lines.each_mut().map(Line::token);
        let mut keys = Vec::new();
        for (at, guest) in guests.iter().enumerate() {
            assert_eq!(lines[at].get(ROLES, &tokens[at]).body, guest.name());
            assert_eq!(lines[at].get(ROLES, &tokens[1 - at]).status, 401);
            guest.credentials();
            let path = format!("{ROLES}{}", guest.name());
            keys.push(lines[at].get(&path, &tokens[at]).key());
            assert_eq!(calls_for(&stage, &role_of(&stage, guest.name())), 1);
            let others = format!("{ROLES}{}", guests[1 - at].name());
            assert_eq!(lines[at].get(&others, &tokens[at]).status, 404);
        }
        assert_ne!(keys[0], keys[1]);
    });
}

#[test]
fn a_token_of_one_workload_is_401_for_another() {
    play(name!(), &Scene::default(), |stage| {
        let (orders, billing) = (guest(&stage, "orders"), guest(&stage, "billing"));
        // Two instances of one application are two workloads as well.
        let second = guest(&stage, "orders-2");
        let token = orders.token();
        assert_eq!(orders.get(ROLES, &token).status, 200);
        for other in [&billing, &second] {
            assert_eq!(other.get(ROLES, &token).status, 401, "{}", other.name());
        }
        let status = stage.agent.command(&["status"]).unwrap();
        let noted = |id: &str| status["counters"]["notes"][id]["token invalid"].clone();
        assert_eq!([noted("billing/practice/billing"), noted("orders/practice/orders-2")], [1, 1]);
    });
}

#[test]
fn both_versions_of_the_address_are_the_same_door() {
    play(name!(), &Scene::default(), |stage| {
        let orders = guest(&stage, "orders");
        let token = orders.token();
        let mut line = Line::over(orders.connect(INSTANCE_V6).unwrap());
        assert_eq!(line.get(ROLES, &token).body, "orders");
    });
}

/// Starts a program at `place`, lets it ask, and holds what it gets against what is expected.
#[track_caller]
fn check(
    stage: &Stage,
    expected: u16,
    verdict: &str,
    place: impl FnOnce(Invocation) -> Invocation,
) {
    let resident = Resident::start(stage, place);
    let before = stage.agent.access().unwrap().len();
    assert_eq!(resident.token_status(), expected);
    crate::stage::until("the record", || stage.agent.access().unwrap().len() > before);
    assert_eq!(stage.agent.access().unwrap()[before]["verdict"], verdict);
}

#[test]
fn where_a_rule_wants_namespace_and_cgroup_both_must_be_the_workloads() {
    play_with_cgroups(name!(), &Scene::default().by_cgroup(), |stage| {
        let (orders, billing) = (guest(&stage, "orders"), guest(&stage, "billing"));
        let (one, other) = (&orders.workload, &billing.workload);
        check(&stage, 200, "attested", |it| one.place(it));
        // The right namespace, but no cgroup of ours, or another's.
        check(&stage, 403, "disagree", |it| in_namespace_alone(&stage, one, it));
        check(&stage, 403, "disagree", |it| {
            in_cgroup_alone(other, in_namespace_alone(&stage, one, it))
        });
        // The right cgroup, but another's namespace.
        check(&stage, 403, "disagree", |it| {
            in_cgroup_alone(one, in_namespace_alone(&stage, other, it))
        });
    });
}

/// Linux takes packets for an address of `lo` on every interface: a neighbour reaches the door.
#[test]
fn a_neighbour_on_the_same_link_is_nobody() {
    play(name!(), &Scene::default(), |stage| {
        let (orders, stranger) = (guest(&stage, "orders"), guest(&stage, "stranger"));
        let ip = |guest: &Guest, words: &str| {
            let ip = Invocation::new("ip").args(words.split(' '));
            guest.workload.run(ip, LIMIT).unwrap().success().unwrap();
        };
        ip(&orders, "link add next type veth peer name door");
        let there =
            format!("link set door netns {}", stranger.workload.namespace().unwrap().display());
        ip(&orders, &there);
        for (guest, device, address) in
            [(&orders, "next", "10.99.0.1/24"), (&stranger, "door", "10.99.0.2/24")]
        {
            ip(guest, &format!("address add {address} dev {device}"));
            ip(guest, &format!("link set {device} up"));
        }
        // Not its own door any more, but its neighbour's.
        ip(&stranger, "address del 169.254.169.254/32 dev lo");
        ip(&stranger, "route add 169.254.169.254 via 10.99.0.1");
        check(&stage, 403, "no-evidence", |it| stranger.workload.place(it));
        assert_eq!(orders.get(ROLES, &orders.token()).status, 200);
    });
}

#[test]
fn a_connection_that_is_handed_on_stays_its_makers() {
    play_with_cgroups(name!(), &Scene::default().by_cgroup(), |stage| {
        let orders = guest(&stage, "orders");
        let billing = guest(&stage, "billing");
        let owner = Resident::in_workload(&stage, &orders.workload);
        let thief = Resident::start(&stage, |it| {
            in_cgroup_alone(&billing.workload, in_namespace_alone(&stage, &orders.workload, it))
        });
        // Made by the thief: it is the thief's, also when the owner speaks on it.
        let made = thief.connect(INSTANCE).unwrap();
        assert_eq!(owner.speak(&made, PUT_TOKEN), "HTTP/1.1 403 Forbidden");
        // And what the owner made is the owner's: handing it on is the owner's own doing.
        let made = owner.connect(INSTANCE).unwrap();
        assert_eq!(thief.speak(&made, PUT_TOKEN), "HTTP/1.1 200 OK");
    });
}

#[test]
fn a_stranger_gets_nothing_at_all() {
    play(name!(), &Scene::default(), |stage| {
        let stranger = guest(&stage, "stranger");
        let (mut line, mut body) = (stranger.line(), String::new());
        for (method, path) in [
            ("PUT", "/latest/api/token"),
            ("GET", "/"),
            ("GET", ROLES),
            ("GET", "/1.0/meta-data/iam/security-credentials/orders"),
            ("GET", "/latest/user-data"),
        ] {
            let answer = line.ask(method, path, &[(crate::http::TTL, "60")]).unwrap();
            assert_eq!(answer.status, 403, "{path}");
            body += &answer.body;
        }
        assert!(!body.contains("orders") && !body.contains("stranger"), "{body}");
        assert_eq!(stage.cloud.sts_calls().unwrap().len(), 0);
    });
}

#[test]
fn explain_says_what_a_process_gets_and_which_rules_match() {
    play(name!(), &Scene::default(), |stage| {
        let orders = guest(&stage, "orders");
        let resident = Resident::in_workload(&stage, &orders.workload);
        let pid = resident.id().to_string();
        let said = stage.agent.command(&["explain", "--pid", &pid]).unwrap();
        assert_eq!(said["verdict"], "attested");
        assert_eq!(said["workload"], "orders/practice/orders");
        assert_eq!(said["role"], role_of(&stage, "orders"));
        assert_eq!([&said["switch"], &said["imdsv1"]], [&json!("on"), &json!(false)]);
        let why = said["why"].as_str().unwrap();
        for line in [
            "orders/practice/orders by rule 0",
            "0: orders/practice matches\n     yes  netns `orders` matches `orders{,-*}`",
            "1: billing/practice does not match\n     no   netns is `orders`, not `billing{,-*}`",
        ] {
            assert!(why.contains(line), "{line}\n---\n{why}");
        }
        // This very process is in the host's namespace, where nobody is served here.
        let own = std::process::id().to_string();
        let said = stage.agent.command(&["explain", "--pid", &own]).unwrap();
        assert!(said["served"].as_str().unwrap().starts_with("not at all"), "{said}");
        let gone = stage.agent.attempt(&["explain", "--pid", "4194303"]).unwrap();
        assert_eq!(gone.code, Some(1), "{gone:?}");
    });
}

#[test]
fn without_an_agent_explain_says_what_the_file_means() {
    play(name!(), &Scene::default(), |mut stage| {
        let orders = guest(&stage, "orders");
        let resident = Resident::in_workload(&stage, &orders.workload);
        stage.agent.stop().unwrap();
        let pid = resident.id().to_string();
        let said = stage.agent.command(&["explain", "--pid", &pid]).unwrap();
        assert_eq!(said["workload"], "orders/practice/orders");
        assert_eq!(said["agent"], "not running: this is what the file means");
    });
}
