use proptest::prelude::*;

use super::*;

const ID: &str = "4a1f0d5c9be2470f8a3d6e1b2c7f9081a2b3c4d5e6f708192a3b4c5d6e7f8091";
const OTHER: &str = "b2a102854b4969b2ce98dc329c86b4fb2b06e4ad2cc8da9d8a7578c9cd2004a2";
const POD: &str = "72f7f152-440c-66ac-9084-e0fc1d8a910c";

/// What a path says: `unit NAME`, `container ID`, `container ID pod UID`, or `nothing`. `ID`, `OTHER`,
/// `POD` and `P_O_D` stand for the constants above.
#[track_caller]
fn check(path: &str, says: &str) {
    let long = |text: &str| {
        let text = text.replace("P_O_D", &POD.replace('-', "_")).replace("POD", POD);
        text.replace("OTHER", OTHER).replace("ID", ID)
    };
    let path: CgroupPath = long(path).parse().unwrap();
    let parts = [
        ("unit", path.unit().map(ToString::to_string)),
        ("container", path.container().map(ToString::to_string)),
        ("pod", path.pod().map(ToString::to_string)),
    ];
    let found: Vec<_> =
        parts.into_iter().filter_map(|(kind, it)| Some(format!("{kind} {}", it?))).collect();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(" ") };
    assert_eq!(found, long(says), "{path}");
}

#[test]
fn a_system_unit_is_the_first_thing_below_the_slices() {
    check("/system.slice/orders.service", "unit orders.service");
    check("/init.scope", "unit init.scope");
    check("/user.slice/user-1000.slice/session-3.scope", "unit session-3.scope");
    check("/a.slice/a-b.slice/orders.service", "unit orders.service");
    check("/system.slice/system-orders.slice/orders@eu.service", "unit orders@eu.service");
    check(r"/system.slice/a\x2db.service", r"unit a\x2db.service");
    check("/system.slice/_cgroup.service", "unit cgroup.service");
    check(
        "/machine.slice/systemd-nspawn@web.service/payload/init.scope",
        "unit systemd-nspawn@web.service",
    );
}

#[test]
fn a_template_has_an_instance() {
    for (path, template) in [
        ("/system.slice/orders@eu.service", Some(("orders", "eu"))),
        (r"/system.slice/a\x2db@c\x2dd.service", Some((r"a\x2db", r"c\x2dd"))),
        ("/system.slice/orders@.service", Some(("orders", ""))),
        ("/system.slice/orders.service", None),
    ] {
        let path: CgroupPath = path.parse().unwrap();
        assert_eq!(path.unit().unwrap().template(), template, "{path}");
    }
}

#[test]
fn what_a_unit_delegates_to_itself_is_still_that_unit() {
    check("/system.slice/orders.service/worker/7", "unit orders.service");
    check("/system.slice/evil.service/orders.service", "unit evil.service");
    check("/system.slice/evil.service/system.slice/orders.service", "unit evil.service");
    check("/system.slice/evil.service/docker-ID.scope", "unit evil.service");
    check("/system.slice/evil.service/libpod-payload-ID", "unit evil.service");
    check("/system.slice/evil.service/kubepods/podPOD/ID", "unit evil.service");
}

#[test]
fn a_users_unit_says_that_it_is_the_users() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    check(user, "unit user@1000.service");
    check(&format!("{user}/init.scope"), "unit user@1000.service/init.scope");
    check(&format!("{user}/app.slice/orders.service"), "unit user@1000.service/orders.service");
    check(
        &format!("{user}/app.slice/app-org.gnome.slice/vte-spawn-1.scope"),
        "unit user@1000.service/vte-spawn-1.scope",
    );
    check(
        &format!("{user}/orders.service/billing.service"),
        "unit user@1000.service/orders.service",
    );
    check(&format!("{user}/anything/orders.service"), "unit user@1000.service");
}

#[test]
fn a_users_container_is_not_a_container_that_we_believe_in() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    check(
        &format!("{user}/user.slice/libpod-ID.scope/container"),
        "unit user@1000.service/libpod-ID.scope",
    );
    check(&format!("{user}/docker-ID.scope"), "unit user@1000.service/docker-ID.scope");
}

#[test]
fn docker_names_its_containers_in_both_cgroup_drivers() {
    check("/docker/ID", "container ID");
    check("/system.slice/docker-ID.scope", "container ID");
    check("/batch.slice/docker-ID.scope", "container ID");
    check("/docker/ID/init.scope", "container ID");
    check("/docker", "nothing");
    check("/docker/buildkit/x1y2", "nothing");
}

#[test]
fn podman_names_its_containers_and_conmon_is_not_one() {
    check("/machine.slice/libpod-ID.scope", "container ID");
    check("/machine.slice/libpod-ID.scope/container", "container ID");
    check("/libpod_parent/libpod-ID", "container ID");
    check("/libpod_parent/OTHER/libpod-ID/container", "container ID");
    check("/libpod_parent/OTHER", "nothing");
    check("/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope", "container ID");
    check("/machine.slice/libpod-conmon-ID.scope", "nothing");
    check("/libpod_parent/libpod-conmon-ID", "nothing");
    check("/libpod_parent/conmon", "nothing");
}

#[test]
fn podmans_split_containers_are_the_unit_they_were_put_in() {
    check("/system.slice/orders.service/libpod-payload-ID", "unit orders.service");
    check("/system.slice/orders.service/supervisor", "unit orders.service");
}

#[test]
fn kubernetes_names_pod_and_container_in_both_cgroup_drivers() {
    let both = "container ID pod POD";
    check("/kubepods/burstable/podPOD/ID", both);
    check("/kubepods/podPOD/ID", both);
    check("/kubepods/besteffort/podPOD/crio-ID", both);
    check("/kubelet/kubepods/besteffort/podPOD/ID", both);
    let slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podP_O_D.slice";
    check(&format!("{slice}/cri-containerd-ID.scope"), both);
    check(&format!("{slice}/crio-ID.scope"), both);
    check(&format!("{slice}/crio-ID.scope/container"), both);
    check(&format!("{slice}/docker-ID.scope"), both);
    check(&format!("{slice}/crio-conmon-ID.scope"), "pod POD");
    check("/kubepods.slice/kubepods-podP_O_D.slice/cri-containerd-ID.scope", both);
    check(
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podP_O_D.slice/cri-containerd-ID.scope",
        both,
    );
    check("/kubepods-besteffort-podP_O_D.slice:cri-containerd:ID", both);
    check(
        "/system.slice/containerd.service/kubepods-besteffort-podP_O_D.slice:cri-containerd:ID",
        both,
    );
    check("/system.slice/k3s.service/kubepods/besteffort/podPOD/ID", both);
}

#[test]
fn a_static_pod_has_a_uid_without_hyphens() {
    let uid = "72f7f152440c66ac9084e0fc1d8a910c";
    check(&format!("/kubepods/pod{uid}/ID"), &format!("container ID pod {uid}"));
}

#[test]
fn ecs_names_its_containers_on_its_own_hosts_and_on_fargate() {
    let task = "752cd3f0dcc745ab9fb7dd24d16e9c6d";
    check(&format!("/ecs/{task}/ID"), "container ID");
    check(&format!("/ecs/{task}/{task}-3054012820"), &format!("container {task}-3054012820"));
    check(&format!("/ecstasks.slice/ecstasks-{task}.slice/docker-ID.scope"), "container ID");
    check(&format!("/ecs/{task}"), "nothing");
}

#[test]
fn a_container_in_a_container_is_the_outer_one_because_the_inner_one_may_be_anybodys_invention() {
    check("/docker/ID/docker/OTHER", "container ID");
    check("/system.slice/docker-ID.scope/kubelet.slice/cri-containerd-OTHER.scope", "container ID");
    check("/system.slice/docker-ID.scope/system.slice/orders.service", "container ID");
}

#[test]
fn a_runtimes_own_service_is_a_unit_and_what_it_runs_is_not() {
    check("/system.slice/docker.service", "unit docker.service");
    check("/system.slice/k3s.service/kubepods", "unit k3s.service");
    check("/system.slice/podman.service/libpod-ID", "container ID");
}

#[test]
fn a_directory_whose_maker_is_not_known_proves_nothing() {
    check("/", "nothing");
    check("/orders", "nothing");
    check("/lxc.payload.web/system.slice/orders.service", "nothing");
    check("/lxc.payload.web/docker/ID", "nothing");
    check("/ID", "nothing");
    check("/.service", "nothing");
    check("/a b.service", "nothing");
    check("/system.slice", "nothing");
    check("/docker/4A1F", "nothing");
}

#[track_caller]
fn check_process(text: &str, path: Option<&str>) {
    let found = CgroupPath::of_process(text);
    assert_eq!(found.as_ref().map(CgroupPath::as_str), path, "{text}");
}

#[test]
fn the_cgroup_of_a_process_is_its_unified_line() {
    check_process("0::/system.slice/orders.service\n", Some("/system.slice/orders.service"));
    check_process("1:name=systemd:/init.scope\n0::/user.slice\n", Some("/user.slice"));
    check_process("0::/\n", Some("/"));
}

#[test]
fn a_host_with_cgroup_v1_alone_gives_no_evidence() {
    check_process("12:memory:/docker/x\n1:name=systemd:/docker/x\n", None);
    check_process("", None);
    check_process("10::/a\n", None);
}

#[test]
fn a_removed_or_foreign_cgroup_gives_no_evidence() {
    check_process("0::/system.slice/orders.service (deleted)\n", None);
    check_process("0::/../../system.slice/orders.service\n", None);
    check_process("0::\n", None);
    check_process("0::relative\n", None);
}

#[test]
fn a_path_that_the_kernel_would_not_write_is_refused() {
    for text in
        ["", "a", "//", "/a//b", "/a/", "/a/./b", "/a/../b", "/a\nb", "/a\0b", &"/a".repeat(2049)]
    {
        assert!(text.parse::<CgroupPath>().is_err(), "{text:?}");
    }
    assert!("/a".repeat(2048).parse::<CgroupPath>().is_ok());
}

prop_compose! {
    /// Paths made of pieces that matter, so that they get past the first checks.
    fn paths()(parts in prop::collection::vec(prop_oneof![
        Just("system.slice".to_owned()), Just("user@1000.service".to_owned()), Just("a.service".to_owned()),
        Just("docker".to_owned()), Just("kubepods".to_owned()), Just(format!("pod{POD}")),
        Just(ID.to_owned()), Just(format!("docker-{ID}.scope")), Just(format!("libpod-conmon-{ID}.scope")),
        Just("docker.service".to_owned()), Just(format!("x:y:{OTHER}")), "[a-z0-9._:@-]{1,9}", "\\PC{1,9}",
    ], 0..6)) -> String {
        format!("/{}", parts.join("/"))
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![paths(), "\\PC{0,60}", ".{0,60}"]) {
        if let Ok(path) = text.parse::<CgroupPath>() {
            prop_assert_eq!(path.to_string(), text.clone());
            prop_assert!(path.contains(&path));
            path.unit().map(|unit| (unit.template().is_some(), unit.user()));
        }
        let _ = CgroupPath::of_process(&text);
        let _ = CgroupPath::of_process(&format!("0::{text}\n"));
    }

    #[test]
    fn a_path_never_names_a_unit_and_a_container(text in paths()) {
        if let Ok(path) = text.parse::<CgroupPath>() {
            prop_assert!(path.unit().is_none() || path.container().is_none());
        }
    }

    #[test]
    fn nothing_below_a_unit_or_container_changes_what_it_is(above in paths(), below in paths()) {
        let (Ok(path), Ok(deeper)) =
            (above.parse::<CgroupPath>(), format!("{above}{below}").parse::<CgroupPath>()) else {
            return Ok(());
        };
        if path.container().is_some() {
            prop_assert_eq!(path.container(), deeper.container());
        }
        let runtime = |unit: &Unit| RUNTIME_SERVICES.contains(&unit.as_str());
        if let Some(unit) = path.unit().filter(|unit| !runtime(unit)) {
            let found = deeper.unit().map(Unit::as_str).unwrap_or_default();
            prop_assert!(found == unit.as_str() || found.starts_with(&format!("{unit}/")), "{found}");
            prop_assert!(deeper.container().is_none());
        }
        prop_assert!(path.contains(&deeper));
    }
}
