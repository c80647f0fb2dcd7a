//! What of the host's own metadata reaches a workload.

use std::time::{Duration, Instant};

use practice::stage::Scene;

use crate::{
    caller::{Caller, ROLES},
    file::File,
    provider::{Provider, USER_DATA},
    stage::{guest, name, play},
};

/// What gives a host away and is allowed by nobody here.
const GUARDED: [&str; 5] = [
    "/latest/user-data",
    "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
    "/latest/dynamic/instance-identity/pkcs7",
    "/latest/dynamic/instance-identity/signature",
    "/latest/meta-data/iam-ecs-1/info",
];

#[test]
fn an_answer_of_the_host_is_kept_and_not_asked_for_again() {
    play(name!(), &Scene::default(), |mut stage| {
        let (provider, at) = Provider::on_host(stage.workspace.cloud_address());
        File::new(&stage)
            .bind(&stage, "orders", "netns = \"orders\"", "")
            .bind(&stage, "billing", "netns = \"billing\"", "")
            .watching(&stage)
            .tables(&format!("[host]\nmetadata = {at:?}"))
            .restart(&mut stage);
        for guest in [guest(&stage, "orders"), guest(&stage, "billing")] {
            let token = guest.token();
            for _ in 0..100 {
                let mut line = guest.line();
                let answer = line.get("/latest/meta-data/ami-id", &token);
                assert_eq!((answer.status, answer.body.as_str()), (200, "ami-0123456789abcdef0"));
                // What the host does not have is kept as well: SDKs ask for such things again and again.
                assert_eq!(line.get("/latest/meta-data/placement/none", &token).status, 404);
            }
        }
        let mut asked = provider.asked();
        asked.sort();
        assert_eq!(
            asked,
            [
                "GET /latest/meta-data/ami-id",
                "GET /latest/meta-data/placement/none",
                "PUT /latest/api/token"
            ]
        );
    });
}

#[test]
fn with_the_switch_off_the_host_answers_through_the_allow_list_alone() {
    play(name!(), &Scene::default(), |mut stage| {
        let (provider, at) = Provider::on_host(stage.workspace.cloud_address());
        let host = format!("[host]\nmetadata = {at:?}\n");
        let file = |stage: &_| File::new(stage).watching(stage);
        let off = "switch = \"off\"";
        file(&stage)
            .bind(&stage, "orders", "netns = \"orders\"", off)
            .tables(&host)
            .restart(&mut stage);
        let orders = guest(&stage, "orders");
        let token = orders.token();
        let mut line = orders.line();
        assert_eq!(line.get("/latest/meta-data/instance-id", &token).body, "i-0123456789abcdef0");
        assert_eq!(line.get("/latest/meta-data/block-device-mapping/root", &token).status, 404);
        assert_eq!(line.get(ROLES, &token).status, 404);
        assert_eq!(line.get(&format!("{ROLES}the-hosts-own-role"), &token).status, 404);
        for path in GUARDED {
            let answer = line.get(path, &token);
            assert_eq!(answer.status, 403, "{path}");
            assert!(!answer.body.contains(USER_DATA));
        }
        let asked = provider.asked();
        assert_eq!(asked, ["PUT /latest/api/token", "GET /latest/meta-data/instance-id"]);
        assert_eq!(stage.cloud.sts_calls().unwrap().len(), 0);

        // Lent by name: the host's own role, on the very same connection.
        let allow = "allow = [\"meta-data/iam/**\", \"meta-data/block-device-mapping/**\"]";
        file(&stage)
            .bind(&stage, "orders", "netns = \"orders\"", off)
            .tables(&format!("{host}{allow}"))
            .write(&stage);
        stage.agent.command(&["reload"]).unwrap();
        assert_eq!(line.get(ROLES, &token).body, "the-hosts-own-role");
        assert_eq!(line.get("/latest/meta-data/block-device-mapping/root", &token).status, 200);
        // And switched on it is the workload's own again, although the host's stays allowed.
        file(&stage)
            .bind(&stage, "orders", "netns = \"orders\"", "")
            .tables(&format!("{host}{allow}"))
            .write(&stage);
        stage.agent.command(&["reload"]).unwrap();
        assert_eq!(line.get(ROLES, &token).body, "orders");
        orders.credentials().1.key();
    });
}

#[test]
fn a_workload_that_asks_for_ever_new_paths_costs_the_host_twenty_questions_a_second() {
    play(name!(), &Scene::default(), |mut stage| {
        let (provider, at) = Provider::on_host(stage.workspace.cloud_address());
        File::new(&stage)
            .bind(&stage, "orders", "netns = \"orders\"", "")
            .bind(&stage, "billing", "netns = \"billing\"", "")
            .watching(&stage)
            .tables(&format!("[host]\nmetadata = {at:?}"))
            .restart(&mut stage);
        let (orders, billing) = (guest(&stage, "orders"), guest(&stage, "billing"));
        let begun = Instant::now();
        let known = billing.token();
        let ami = "/latest/meta-data/ami-id";
        assert_eq!(billing.get(ami, &known).status, 200);
        let (token, mut line) = (orders.token(), orders.line());
        let asked_until = Instant::now() + Duration::from_secs(2);
        let (mut absent, mut refused) = (0, 0);
        while Instant::now() < asked_until {
            let path = format!("/latest/meta-data/placement/{}", absent + refused);
            match line.get(&path, &token).status {
                404 => absent += 1,
                503 => refused += 1,
                other => panic!("{other}"),
            }
        }
        // What was asked before is answered all the same, and credentials need no host.
        assert_eq!(billing.get(ami, &known).status, 200);
        billing.credentials().1.key();
        let may = usize::try_from((begun.elapsed() + Duration::from_secs(1)).as_millis()).unwrap()
            * usize::try_from(agent::host::RATE).unwrap()
            / 1000;
        let asked = provider.asked().iter().filter(|it| it.starts_with("GET ")).count();
        assert!(asked <= may && absent < asked, "{asked} of {may}, {absent} {refused}");
        assert!(absent >= 20 && refused > 0, "{absent} {refused}");
    });
}

#[test]
fn a_host_that_does_not_answer_is_a_503_within_the_second() {
    play(name!(), &Scene::default(), |mut stage| {
        // Nobody accepts there: the kernel takes the connection and nothing more.
        let silent = std::net::TcpListener::bind((stage.workspace.cloud_address(), 0)).unwrap();
        File::new(&stage)
            .bind(&stage, "orders", "netns = \"orders\"", "")
            .watching(&stage)
            .tables(&format!("[host]\nmetadata = \"http://{}\"", silent.local_addr().unwrap()))
            .restart(&mut stage);
        let orders = guest(&stage, "orders");
        let token = orders.token();
        let begun = Instant::now();
        assert_eq!(orders.get("/latest/meta-data/ami-id", &token).status, 503);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        // Credentials need no host.
        orders.credentials().1.key();
    });
}
