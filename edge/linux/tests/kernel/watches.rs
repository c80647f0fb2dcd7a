use std::{
    fs::{self, File, Permissions},
    io,
    os::fd::{AsFd, AsRawFd},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use linux::{Event, Namespace, Watch, WatchError};
use rustix::{
    event::{Timespec, epoll},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::CapabilitySet,
};

use crate::stage::{Folder, name, namespace, need, readable, readable_now, remove, without};

fn told(events: Vec<Event>) -> Vec<String> {
    let text = |event| match event {
        Event::Added(found) => {
            let namespace = found.open().unwrap().unwrap();
            assert!(found.path.ends_with(&found.name) && namespace.name() == found.name);
            assert_eq!(namespace.inode(), found.inode);
            format!("+{}", found.name)
        }
        Event::Removed { name } => format!("-{name}"),
    };
    events.into_iter().map(text).collect()
}

/// Waits until the descriptor can be read before each poll, until there is something to tell.
#[track_caller]
fn next(watch: &mut Watch) -> Vec<String> {
    loop {
        assert!(readable(&watch), "nothing happened");
        let events = told(watch.poll().unwrap());
        if !events.is_empty() {
            return events;
        }
    }
}

fn mounted(path: &Path) -> Result<Namespace, String> {
    let namespace = namespace().map_err(|error| error.to_string())?;
    namespace.mount(path).map_err(|error| format!("cannot mount: {error}"))?;
    Ok(namespace)
}

#[test]
fn what_is_there_already_is_reported_first() {
    let folder = Folder::new();
    need!(mounted(&folder.0.join("web")));
    let mut watch = Watch::open(&folder.0).unwrap();
    assert_eq!(told(watch.poll().unwrap()), ["+web"]);
    assert_eq!(told(watch.poll().unwrap()), [""; 0]);
}

#[test]
fn a_namespace_is_reported_when_it_comes_and_when_it_goes() {
    let folder = Folder::new();
    let mut watch = Watch::open(&folder.0).unwrap();
    need!(mounted(&folder.0.join("web")));
    assert_eq!(next(&mut watch), ["+web"]);
    remove(&folder.0.join("web"));
    assert_eq!(next(&mut watch), ["-web"]);
}

#[test]
fn a_file_that_becomes_a_namespace_later_is_waited_for() {
    let folder = Folder::new();
    let path = folder.0.join("web");
    let mut watch = Watch::open(&folder.0).unwrap();
    fs::write(&path, "").unwrap();
    assert!(readable_now(&watch));
    assert_eq!(told(watch.poll().unwrap()), [""; 0]);
    assert_eq!(watch.pending(), 1);

    let namespace = need!(namespace());
    let other = folder.0.join("mounted-elsewhere-first");
    need!(namespace.mount(&other));
    rustix::mount::mount_bind(&other, &path).unwrap();
    let mut events = next(&mut watch);
    if events.len() == 1 {
        events.extend(next(&mut watch));
    }
    events.sort();
    assert_eq!(events, ["+mounted-elsewhere-first", "+web"]);
    assert_eq!(watch.pending(), 0);
}

#[test]
fn a_program_that_waits_for_edges_hears_of_a_mount() {
    let folder = Folder::new();
    let path = folder.0.join("web");
    let mut watch = Watch::open(&folder.0).unwrap();
    // As an asynchronous runtime does.
    let outer = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&outer, watch.as_fd(), epoll::EventData::new_u64(0), flags).unwrap();
    let wait = || {
        let mut events = Vec::with_capacity(4);
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        epoll::wait(&outer, rustix::buffer::spare_capacity(&mut events), Some(&limit)).unwrap()
    };

    fs::write(&path, "").unwrap();
    let mut events = Vec::new();
    while watch.pending() == 0 {
        assert!(wait() > 0, "the file was not told");
        events.extend(told(watch.poll().unwrap()));
    }
    let own = need!(namespace());
    let link = format!("/proc/self/fd/{}", own.as_fd().as_raw_fd());
    need!(rustix::mount::mount_bind(link, &path));
    while events.is_empty() {
        assert!(wait() > 0, "the mount was not told");
        events.extend(told(watch.poll().unwrap()));
    }
    assert_eq!(events, ["+web"]);
}

#[test]
fn a_namespace_that_took_anothers_name_is_reported_as_gone_and_come() {
    let folder = Folder::new();
    let path = folder.0.join("web");
    let _first = need!(mounted(&path));
    let mut watch = Watch::open(&folder.0).unwrap();
    assert_eq!(told(watch.poll().unwrap()), ["+web"]);
    remove(&path);
    let _second = need!(mounted(&path));
    assert_eq!(next(&mut watch), ["-web", "+web"]);
}

#[test]
fn a_namespace_that_went_or_was_replaced_before_it_was_opened_is_not_opened() {
    let folder = Folder::new();
    let path = folder.0.join("web");
    let _first = need!(mounted(&path));
    let mut watch = Watch::open(&folder.0).unwrap();
    let events = watch.poll().unwrap();
    let [Event::Added(found)] = events.as_slice() else { panic!("{events:?}") };
    remove(&path);
    assert!(found.open().unwrap().is_none(), "it is gone");
    fs::write(&path, "").unwrap();
    assert!(found.open().unwrap().is_none(), "it is no namespace");
    remove(&path);
    let _second = need!(mounted(&path));
    assert!(found.open().unwrap().is_none(), "it is another");
}

#[test]
fn a_file_that_nobody_may_read_is_no_namespace_yet() {
    let folder = Folder::new();
    let path = folder.0.join("web");
    need!(mounted(&folder.0.join("api")));
    fs::write(&path, "").unwrap();
    // As `ip netns add` makes it.
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let mut watch = Watch::open(&folder.0).unwrap();
    let rights = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let events = without(rights, || {
        assert!(File::open(&path).is_err());
        watch.poll()
    });
    assert_eq!(told(events.unwrap()), ["+api"]);
    assert_eq!(watch.pending(), 1);
}

#[test]
fn a_shortage_of_descriptors_is_an_error_and_nothing_is_taken_for_gone() {
    in_a_process_of_its_own(|| {
        let folder = Folder::new();
        for number in 0..20 {
            need!(mounted(&folder.0.join(format!("web-{number}"))));
        }
        let mut watch = Watch::open(&folder.0).unwrap();
        assert_eq!(told(watch.poll().unwrap()).len(), 20);

        // From here on numbers are given out without a gap.
        let fill: Vec<File> = (0..16).map(|_| File::open("/dev/null").unwrap()).collect();
        let used = u64::try_from(fill.last().unwrap().as_raw_fd()).unwrap() + 1;
        let limits = getrlimit(Resource::Nofile);
        let mut left = |descriptors| {
            let current = Some(used + descriptors);
            setrlimit(Resource::Nofile, Rlimit { current, ..limits }).unwrap();
            let polled = watch.poll();
            setrlimit(Resource::Nofile, limits).unwrap();
            polled
        };
        // Not even the folder can be opened; then no namespace; then one after the other.
        for descriptors in [0, 1] {
            let error = left(descriptors).unwrap_err();
            assert!(matches!(error, WatchError::Unseen { .. }), "{error}");
            assert!(error.to_string().contains("Too many open files"), "{error}");
        }
        assert_eq!(left(2).unwrap(), []);
        remove(&folder.0.join("web-7"));
        left(1).unwrap_err();
        assert_eq!(told(left(2).unwrap()), ["-web-7"]);
    });
}

/// Runs the test that calls it again, alone in a process whose limits it may change.
#[track_caller]
fn in_a_process_of_its_own(body: impl FnOnce()) {
    const ALONE: &str = "ROLECALL_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let test = std::thread::current().name().unwrap().to_owned();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([&test, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, "1");
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    if let Some(line) = said.lines().find(|line| line.starts_with("skipped: ")) {
        crate::stage::skip(&test, line);
    }
}

#[test]
fn a_folder_that_is_made_later_is_watched_from_then_on() {
    let folder = Folder::new();
    let inner = folder.0.join("run/netns");
    let mut watch = Watch::open(&inner).unwrap();
    assert_eq!(told(watch.poll().unwrap()), [""; 0]);
    fs::create_dir(folder.0.join("run")).unwrap();
    assert_eq!(told(watch.poll().unwrap()), [""; 0]);
    fs::create_dir(&inner).unwrap();
    assert!(readable_now(&watch));
    assert_eq!(told(watch.poll().unwrap()), [""; 0]);

    let web = inner.join("web");
    need!(mounted(&web));
    assert_eq!(next(&mut watch), ["+web"]);

    remove(&web);
    fs::remove_dir(&inner).unwrap();
    assert_eq!(next(&mut watch), ["-web"]);
    fs::create_dir(&inner).unwrap();
    assert!(readable_now(&watch));
    watch.poll().unwrap();
    need!(mounted(&web));
    assert_eq!(next(&mut watch), ["+web"]);
    remove(&web);
}

#[test]
fn nothing_is_lost_when_the_kernels_queue_overflows() {
    let folder = Folder::new();
    let mut watch = Watch::open(&folder.0).unwrap();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: u32 = limit.trim().parse().unwrap();
    let path = folder.0.join("noise");
    for _ in 0..=limit / 2 {
        File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
    }
    need!(mounted(&folder.0.join("web")));
    assert_eq!(next(&mut watch), ["+web"]);
    remove(&folder.0.join("web"));
    assert_eq!(next(&mut watch), ["-web"]);
}

#[test]
fn what_is_no_file_is_never_opened_and_the_agents_own_namespace_is_no_workloads() {
    let folder = Folder::new();
    let mut watch = Watch::open(&folder.0).unwrap();
    fs::create_dir(folder.0.join("folder")).unwrap();
    std::os::unix::fs::symlink("/proc/self/ns/net", folder.0.join("link")).unwrap();
    need!(Namespace::own().unwrap().mount(folder.0.join("own")).map_err(|e| format!("mount: {e}")));
    assert_eq!(told(watch.poll().unwrap()), [""; 0]);
    assert_eq!(watch.pending(), 0);
}

#[test]
fn ip_netns_add_and_delete_are_heard() {
    let name = name("ip");
    let mut watch = Watch::open("/run/netns").unwrap();
    let ip = |verb: &str| -> Result<(), io::Error> {
        let output = Command::new("ip").args(["netns", verb, &name]).output()?;
        if output.status.success() {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    };
    // Others use the folder as well.
    let mut hear = |wanted: String| while !next(&mut watch).contains(&wanted) {};
    need!(ip("add"));
    hear(format!("+{name}"));
    ip("delete").unwrap();
    hear(format!("-{name}"));
}
