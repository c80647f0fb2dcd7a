//! Processes in the host's own network namespace: the redirect, and units told apart by cgroup.

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use linux::Namespace;
use practice::{
    host::{Plan, Workload},
    program::Invocation,
    stage::{Scene, Stage},
};

use crate::{
    caller::{Caller, INSTANCE, ROLES, Resident},
    file::File,
    http::Line,
    provider::Provider,
    stage::{calls_for, name, play, play_with_cgroups, role_of, until},
};

const QUICK: Duration = Duration::from_secs(10);

/// The test's own process, which is on the host's network as well.
struct Host;

impl Caller for Host {
    fn connect(&self, to: std::net::SocketAddr) -> std::io::Result<TcpStream> {
        TcpStream::connect_timeout(&to, Duration::from_secs(2))
    }
}

fn run(script: &str) {
    Invocation::new("sh").args(["-ec", script]).run(QUICK).unwrap().success().unwrap();
}

/// The agent with a redirect; says why where the kernel has none to offer.
fn redirected(stage: &mut Stage, more: &str) -> Result<(), String> {
    let unit = |name: &str| format!("unit = \"{name}.service\"");
    stage.agent.stop().unwrap();
    File::new(stage)
        .bind(stage, "orders", &unit("orders"), "")
        .bind(stage, "billing", &unit("billing"), "")
        .metadata(&format!("redirect = {{ port = 911{more} }}"))
        .tables("[host]\nmetadata = \"http://169.254.169.254\"")
        .write(stage);
    if let Err(error) = stage.agent.resume() {
        let said = error.to_string();
        assert!(said.contains("nft"), "{said}");
        return Err(said.replace('\n', "; "));
    }
    Ok(())
}

/// A unit on the host's network.
fn unit(stage: &Stage, name: &str) -> (Workload, Resident) {
    let below = format!("system.slice/{name}.service");
    let workload = stage.workspace.add(&Plan::new(name).on_host().cgroup(&below)).unwrap();
    let resident = Resident::in_workload(stage, &workload);
    (workload, resident)
}

/// The provider's real metadata service at the real address, one hop away from the host.
fn provider(stage: &mut Stage) -> (Workload, Provider) {
    // Its namespace is not for the agent.
    stage.agent.stop().unwrap();
    let plan = Plan::new("provider").address(INSTANCE.ip());
    let workload = stage.workspace.add(&plan).unwrap();
    let address = workload.address().unwrap();
    run(&format!("ip route add 169.254.169.254/32 via {address}"));
    let namespace = Namespace::open(workload.namespace().unwrap()).unwrap();
    let listener = namespace.run(|| TcpListener::bind(INSTANCE).unwrap()).unwrap();
    let wake = namespace.run(|| TcpStream::connect(INSTANCE).unwrap()).unwrap();
    (workload, Provider::start(listener, wake))
}

#[test]
fn two_units_on_the_hosts_network_get_a_role_each() {
    play_with_cgroups(name!(), &Scene::default(), |mut stage| {
        // A host has a route out; without one the kernel does not even try.
        let (_provider, provider) = provider(&mut stage);
        if let Err(why) = redirected(&mut stage, "") {
            return println!("skipped: {why}");
        }
        let units = [unit(&stage, "orders"), unit(&stage, "billing")];
        let mut keys = Vec::new();
        for (workload, resident) in &units {
            let (role, answer) = resident.credentials();
            assert_eq!(role, workload.name());
            keys.push(answer.key());
            assert_eq!(calls_for(&stage, &role_of(&stage, workload.name())), 1);
        }
        assert_ne!(keys[0], keys[1]);
        let token = units[0].1.token();
        assert_eq!(units[1].1.get(ROLES, &token).status, 401);
        // Anybody else on the same network is nobody: this very process, and who asks the port itself.
        assert_eq!(Host.token_status(), 403);
        let straight = units[0].1.connect("127.0.0.1:911".parse().unwrap()).unwrap();
        let answer = Line::over(straight).ask("GET", ROLES, &[]).unwrap();
        assert_eq!(answer.status, 403);
        until("the record", || {
            let lines = stage.agent.access().unwrap();
            lines.iter().any(|line| line["workload"] == "orders/practice/orders.service")
        });
        assert!(provider.asked().is_empty());
    });
}

#[test]
fn the_redirect_stays_when_the_agent_is_killed_and_leads_to_nobody() {
    play(name!(), &Scene::default(), |mut stage| {
        let (_provider, provider) = provider(&mut stage);
        let token = Host.token();
        assert_eq!(Host.get("/latest/meta-data/instance-id", &token).status, 200);
        let before = provider.asked().len();
        if let Err(why) = redirected(&mut stage, "") {
            return println!("skipped: {why}");
        }
        let status = |stage: &Stage| {
            stage.agent.command(&["redirect", "status"]).unwrap()["redirect"].clone()
        };
        assert_eq!(status(&stage), "installed");
        assert_eq!(Host.token_status(), 403);
        stage.agent.kill().unwrap();
        for _ in 0..20 {
            assert_eq!(Host.connect(INSTANCE).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        assert_eq!(status(&stage), "installed");
        stage.agent.resume().unwrap();
        assert_eq!(Host.token_status(), 403);
        // Stopped in order it stays as well, unless the file says otherwise.
        stage.agent.stop().unwrap();
        assert_eq!(Host.connect(INSTANCE).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(provider.asked().len(), before, "nothing went past the agent");
        stage.agent.command(&["redirect", "remove"]).unwrap();
        assert_eq!(status(&stage), "absent");
        assert_eq!(Host.get("/latest/meta-data/instance-id", &token).status, 200);
    });
}

#[test]
fn a_redirect_that_shall_go_with_the_agent_goes() {
    play(name!(), &Scene::default(), |mut stage| {
        let (_provider, _service) = provider(&mut stage);
        if let Err(why) = redirected(&mut stage, ", on_stop = \"remove\"") {
            return println!("skipped: {why}");
        }
        assert_eq!(Host.token_status(), 403);
        stage.agent.stop().unwrap();
        assert_eq!(Host.token_status(), 200, "the provider's own service answers again");
    });
}

#[test]
fn the_agents_own_requests_are_not_redirected() {
    play_with_cgroups(name!(), &Scene::default(), |mut stage| {
        let (_workload, provider) = provider(&mut stage);
        if let Err(why) = redirected(&mut stage, "") {
            return println!("skipped: {why}");
        }
        let (_orders, resident) = unit(&stage, "orders");
        let token = resident.token();
        let answer = resident.get("/latest/meta-data/ami-id", &token);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ami-0123456789abcdef0"));
        assert_eq!(provider.asked(), ["PUT /latest/api/token", "GET /latest/meta-data/ami-id"]);
        // The workload itself got there by way of the agent alone.
        assert_eq!(resident.get(ROLES, &token).body, "orders");
    });
}

#[test]
fn a_container_that_is_not_served_never_reaches_the_hosts_metadata() {
    play(name!(), &Scene::default(), |mut stage| {
        if let Err(error) = linux::Redirect::forwarded_alone().install() {
            println!("skipped: no packet filter here: {error}");
            return;
        }
        let (_place, provider) = provider(&mut stage);
        run("echo 1 > /proc/sys/net/ipv4/ip_forward");
        linux::Redirect::remove().unwrap();
        let stranger = stage.workspace.add(&Plan::new("stranger")).unwrap();
        let resident = Resident::in_workload(&stage, &stranger);
        assert_eq!(resident.token_status(), 200);
        assert_eq!(provider.asked(), ["PUT /latest/api/token"]);
        // The agent is there: first with doors in the namespace, then without, as before it is served.
        stage.agent.resume().unwrap();
        until("the doors", || resident.token_status() == 403);
        let ip = Invocation::new("ip").args("address del 169.254.169.254/32 dev lo".split(' '));
        stranger.run(ip, QUICK).unwrap().success().unwrap();
        let refused = || resident.connect(INSTANCE).unwrap_err().to_string();
        assert!(refused().contains("refused"), "{}", refused());
        stage.agent.kill().unwrap();
        assert!(refused().contains("refused"), "{}", refused());
        assert_eq!(provider.asked().len(), 1);
    });
}
