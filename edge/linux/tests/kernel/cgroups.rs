use std::fs;

use linux::{CgroupError, CgroupId, Cgroups};
use rustix::thread::CapabilitySet;

use crate::stage::{Cgroup, need, without};

fn id(cgroups: &Cgroups, cgroup: &Cgroup) -> CgroupId {
    cgroups.at(&cgroup.path).unwrap().unwrap()
}

#[test]
fn a_cgroup_is_found_by_its_number_at_any_depth() {
    let outer = need!(Cgroup::new());
    let inner = Cgroup::at(outer.folder.join("web"), format!("{}/web", outer.path)).unwrap();
    let cgroups = Cgroups::open().unwrap();
    for cgroup in [&outer, &inner] {
        // The second time it is known.
        for _ in 0..2 {
            assert_eq!(cgroups.path_of(id(&cgroups, cgroup)).unwrap(), cgroup.path);
        }
    }
    drop(inner);
}

#[test]
fn without_the_capability_the_tree_is_searched() {
    let cgroup = need!(Cgroup::new());
    let cgroups = Cgroups::open().unwrap();
    let id = id(&cgroups, &cgroup);
    let path = without(CapabilitySet::DAC_READ_SEARCH, || cgroups.path_of(id)).unwrap();
    assert_eq!(path, cgroup.path);
}

#[track_caller]
fn check_gone(known_before: bool) {
    let cgroup = need!(Cgroup::new());
    let cgroups = Cgroups::open().unwrap();
    let id = id(&cgroups, &cgroup);
    if known_before {
        cgroups.path_of(id).unwrap();
    }
    fs::remove_dir(&cgroup.folder).unwrap();
    assert!(matches!(cgroups.path_of(id), Err(CgroupError::Gone(_))));
    // Another at the same path is another cgroup.
    fs::create_dir(&cgroup.folder).unwrap();
    assert!(matches!(cgroups.path_of(id), Err(CgroupError::Gone(_))));
    let searched = without(CapabilitySet::DAC_READ_SEARCH, || cgroups.path_of(id));
    assert!(matches!(searched, Err(CgroupError::Gone(_))));
    assert_ne!(cgroups.at(&cgroup.path).unwrap(), Some(id));
}

#[test]
fn a_removed_cgroup_is_gone() {
    check_gone(false);
}

#[test]
fn a_removed_cgroup_is_gone_although_its_path_was_known() {
    check_gone(true);
}

#[test]
fn a_name_that_looks_like_a_removed_cgroups_is_just_a_name() {
    let outer = need!(Cgroup::new());
    let name = "web (deleted)";
    let odd = Cgroup::at(outer.folder.join(name), format!("{}/{name}", outer.path)).unwrap();
    let cgroups = Cgroups::open().unwrap();
    assert_eq!(cgroups.path_of(id(&cgroups, &odd)).unwrap(), odd.path);
    drop(odd);
}

#[test]
fn the_root_cgroup_is_no_workloads() {
    let cgroups = need!(Cgroups::open());
    assert_eq!(cgroups.at("/").unwrap(), None);
}
