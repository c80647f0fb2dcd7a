//! A cgroup's path, alone and as a process's `/proc` file gives it: parsed, it prints back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use workload::CgroupPath;

fuzz_target!(|text: &str| {
    for path in [text.parse().ok(), CgroupPath::of_process(text)].into_iter().flatten() {
        let path: CgroupPath = path;
        assert_eq!(path.to_string().parse().as_ref(), Ok(&path));
        assert!(path.contains(&path) && path.as_str().starts_with('/'));
        assert!(path.unit().is_none_or(|unit| path.as_str().contains(unit.name())));
        let _ = (path.container(), path.pod(), path.is_root());
    }
});
