//! Namespaces that an operator hands in.

use std::{io::ErrorKind, time::Duration};

use practice::{program::Invocation, stage::Scene};

use crate::{
    caller::{Caller, Guest, INSTANCE, Resident, in_namespace_alone},
    file::File,
    stage::{name, play, play_with_cgroups, until},
};

#[test]
fn attach_by_process_pins_namespace_and_cgroup_until_detach() {
    play_with_cgroups(name!(), &Scene::default(), |mut stage| {
        File::new(&stage).bind(&stage, "orders", "netns = \"shop\"", "").restart(&mut stage);
        let orders = Guest::new(stage.workload("orders").unwrap());
        let resident = Resident::in_workload(&stage, &orders.workload);
        assert!(resident.connect(INSTANCE).is_err(), "nobody watches the folder");

        let pid = resident.id().to_string();
        let served = stage.agent.command(&["attach", "shop", "--pid", &pid]).unwrap();
        assert_eq!(served["pinned"], orders.workload.cgroup().unwrap());
        assert_eq!(served["inode"], orders.workload.namespace_inode().unwrap());
        assert_eq!(served["workload"], "orders/practice/shop");
        assert_eq!(resident.credentials().1.status, 200);

        // The namespace is right, the cgroup is not: this very process, and one in another cgroup.
        assert_eq!(orders.token_status(), 403);
        let stranger =
            Resident::start(&stage, |it| in_namespace_alone(&stage, &orders.workload, it));
        assert_eq!(stranger.token_status(), 403);
        until("the record", || {
            stage.agent.access().unwrap().iter().any(|line| line["verdict"] == "moved")
        });

        let twice = stage.agent.attempt(&["attach", "shop", "--pid", &pid]).unwrap();
        assert!(twice.stderr.contains("`shop` is served already; detach it first"), "{twice:?}");
        let renamed = stage.agent.attempt(&["attach", "mall", "--pid", &pid]).unwrap();
        assert!(renamed.stderr.contains("served already, as `shop`"), "{renamed:?}");

        let mut open = resident.line();
        let token = open.token();
        stage.agent.command(&["detach", "shop"]).unwrap();
        let refused = resident.connect(INSTANCE).unwrap_err().to_string();
        assert!(refused.contains("refused"), "{refused}");
        assert!(open.ask("GET", "/", &[(crate::http::TOKEN, &token)]).is_err());
        let gone = stage.agent.attempt(&["detach", "shop"]).unwrap();
        assert_eq!(gone.code, Some(1));
        assert!(gone.stderr.contains("no namespace `shop` was attached"), "{gone:?}");
    });
}

#[test]
fn a_namespace_is_attached_by_its_file_as_well() {
    play(name!(), &Scene::default(), |mut stage| {
        File::new(&stage).bind(&stage, "orders", "netns = \"shop\"", "").restart(&mut stage);
        let orders = Guest::new(stage.workload("orders").unwrap());
        let path = orders.workload.namespace().unwrap().display().to_string();
        stage.agent.command(&["attach", "shop", "--netns", &path]).unwrap();
        assert_eq!(orders.credentials().0, "orders");
        // The host's own namespace is refused: it would serve everybody.
        let own = stage.agent.attempt(&["attach", "host", "--netns", "/proc/self/ns/net"]).unwrap();
        assert_eq!(own.code, Some(1));
        assert!(own.stderr.contains("is the agent's own"), "{own:?}");
    });
}

#[test]
fn detaching_keeps_the_addresses_from_others_unless_the_operator_removes_them() {
    play(name!(), &Scene::default(), |mut stage| {
        File::new(&stage).restart(&mut stage);
        let orders = Guest::new(stage.workload("orders").unwrap());
        let path = orders.workload.namespace().unwrap().display().to_string();
        let addresses = || -> Vec<String> {
            let ip = Invocation::new("ip").args(["-o", "address", "show", "dev", "lo"]);
            let listing = orders.workload.run(ip, Duration::from_secs(10)).unwrap();
            let words = listing.success().unwrap().stdout;
            let ours = |word: &&str| word.starts_with("169.254.") || word.starts_with("fd00:ec2:");
            words.split_whitespace().filter(ours).map(str::to_owned).collect()
        };
        assert_eq!(addresses().len(), 0);

        stage.agent.command(&["attach", "shop", "--netns", &path]).unwrap();
        assert_eq!(addresses().len(), 5);
        let said = stage.agent.command(&["detach", "shop"]).unwrap();
        assert_eq!(said["removed_addresses"], serde_json::json!([]));
        assert_eq!(addresses().len(), 5);
        assert_eq!(orders.connect(INSTANCE).unwrap_err().kind(), ErrorKind::ConnectionRefused);

        stage.agent.command(&["attach", "shop", "--netns", &path]).unwrap();
        orders.connect(INSTANCE).unwrap();
        let said = stage.agent.command(&["detach", "shop", "--remove-addresses"]).unwrap();
        assert_eq!(said["removed_addresses"].as_array().unwrap().len(), 5, "{said}");
        assert_eq!(addresses(), [""; 0]);
    });
}
