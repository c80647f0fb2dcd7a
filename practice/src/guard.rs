//! What is left to do when this process is gone and no destructor ran.
//!
//! One shell per process reads what we make and unmake from a pipe. When the pipe ends, for
//! whichever reason, it removes what is still there: process groups first, then cgroups and
//! namespaces.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// One thing that must not outlive this process. Dropped: it is gone already.
#[derive(Debug)]
pub(crate) struct Watched(String);

impl Watched {
    /// Watches a process group, by the id of its leader.
    pub(crate) fn group(id: u32) -> Self {
        Self::new("group", &id)
    }

    /// Watches a folder below cgroup2's, with all that is in it.
    pub(crate) fn cgroups(path: &std::path::Path) -> Self {
        Self::new("cgroups", &path.display())
    }

    /// Watches a folder of a practice host: its `netns` folder holds mounts.
    pub(crate) fn folder(path: &std::path::Path) -> Self {
        Self::new("folder", &path.display())
    }

    fn new(kind: &str, name: &dyn Display) -> Self {
        let word = format!("{kind}={name}");
        tell(&format!("+{word}"));
        Self(word)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        tell(&format!("-{}", self.0));
    }
}

/// Says one line to the guard. Where there is no shell there is no guard: destructors still run.
fn tell(line: &str) {
    static GUARD: Mutex<Option<(Child, ChildStdin)>> = Mutex::new(None);
    let mut guard = GUARD.lock().unwrap_or_else(PoisonError::into_inner);
    if guard.is_none() {
        *guard = start();
    }
    if let Some((_, pipe)) = guard.as_mut() {
        // The pipe is only broken when the guard was killed, and then nobody is left to tell.
        let _ = writeln!(pipe, "{line}");
    }
}

fn start() -> Option<(Child, ChildStdin)> {
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C goes to our process group; the guard must live to clean up after it.
        .process_group(0)
        .spawn()
        .ok()?;
    let pipe = child.stdin.take()?;
    Some((child, pipe))
}

/// Names come one a line: `+kind=name` when made, `-kind=name` when unmade. No name holds a space:
/// all of them are numbers or paths that this crate made up.
const SCRIPT: &str = r#"
known=
while read -r line; do
    case $line in
        +*) known="$known ${line#+}" ;;
        -*) rest=; for one in $known; do [ "$one" = "${line#-}" ] || rest="$rest $one"; done; known=$rest ;;
    esac
done
for one in $known; do case $one in group=*) kill -s KILL -- "-${one#group=}" ;; esac; done
for one in $known; do case $one in cgroups=*)
    path=${one#cgroups=}
    [ -e "$path/cgroup.kill" ] && echo 1 > "$path/cgroup.kill"
    for try in 1 2 3 4 5 6 7 8 9 10; do
        find "$path" -depth -type d -exec rmdir {} + && break
        sleep 0.1
    done ;;
esac; done
for one in $known; do case $one in folder=*)
    path=${one#folder=}
    for mount in "$path"/netns/*; do umount -l "$mount"; done
    rm -rf "$path" ;;
esac; done
"#;
