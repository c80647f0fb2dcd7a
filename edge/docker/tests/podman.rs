//! A real engine: podman runs a real container, and what its API and the kernel say of it must agree.

#![cfg(test)]

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use docker::{Engine, EngineError};
use workload::{
    CgroupPath, Conditions, ContainerId, Evidence, Refusal, Rule, Rules, Verdict, attest,
};

/// Runs in a mount namespace of its own, which gives podman a plain v2 hierarchy even where the host's
/// is a hybrid, and takes every mount away at the end. One word per line in, one line out.
const SCRIPT: &str = r#"
set -eu
folder=$1
# A host that forbids mounts even to its root cannot try this; anything later that fails is a failure.
mount -t cgroup2 none /sys/fs/cgroup || { echo "skip cannot mount cgroup2"; exit 0; }
runtime=crun
command -v crun >/dev/null || runtime=runc
set -- --root "$folder/root" --runroot "$folder/run" --tmpdir "$folder/tmp" --runtime "$runtime" \
    --storage-driver vfs --cgroup-manager cgroupfs --events-backend file
mkdir -p "$folder/image/bin"
cp "$(command -v busybox)" "$folder/image/bin/sleep"
tar -C "$folder/image" -cf "$folder/image.tar" .
podman "$@" import -q "$folder/image.tar" localhost/fixture:1 >&2
# Privileged, with limits spelled out, because the host may let us raise none.
id=$(podman "$@" run -d --name web --network none --privileged --pids-limit 0 \
    --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
    --label rolecall.application=orders --label rolecall.empty= localhost/fixture:1 /bin/sleep 3600)
podman "$@" system service --time=0 "unix://$folder/engine.sock" >&2 &
service=$!
until [ -S "$folder/engine.sock" ]; do kill -0 "$service"; sleep 0.02; done
echo "id $id"
while read -r word; do
    case "$word" in
        stop) podman "$@" stop -t 0 web >&2 ;;
        remove) podman "$@" rm -f -t 0 web >&2 ;;
    esac
    echo "done $word"
done
podman "$@" rm -a -f -t 0 >&2 || true
kill "$service"
wait "$service" || true
rmdir "/sys/fs/cgroup/libpod_parent/libpod-$id" /sys/fs/cgroup/libpod_parent/conmon \
    /sys/fs/cgroup/libpod_parent 2>/dev/null || true
"#;

/// The script and its folder. Dropping it ends the script, which takes everything down.
struct Podman {
    folder: PathBuf,
    script: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Podman {
    /// A running container's podman, or what the host lacks for one.
    fn start() -> Result<(Self, ContainerId), String> {
        for program in ["podman", "busybox", "unshare", "tar"] {
            if !installed(program) {
                return Err(format!("`{program}` is not installed"));
            }
        }
        if !installed("crun") && !installed("runc") {
            return Err("neither `crun` nor `runc` is installed".to_owned());
        }
        let uid = Command::new("id").arg("-u").output().expect("id");
        if uid.stdout != b"0\n" {
            return Err("needs root".to_owned());
        }
        let folder = std::env::temp_dir().join(format!("rolecall-podman-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut script = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let input = script.stdin.take();
        let output = BufReader::new(script.stdout.take().unwrap());
        let mut podman = Self { folder, script, input, output };
        let line = podman.line();
        match line.split_once(' ') {
            Some(("id", id)) => Ok((podman, id.parse().unwrap())),
            Some(("skip", reason)) => Err(reason.to_owned()),
            _ => panic!("podman ran no container: {}", podman.log()),
        }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.input.as_mut().unwrap(), "{word}").unwrap();
        assert_eq!(self.line(), format!("done {word}"), "{}", self.log());
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.script.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn installed(program: &str) -> bool {
    Command::new(program)
        .arg("--help")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

#[tokio::test]
async fn what_podman_says_of_a_container_agrees_with_what_the_kernel_says() {
    let (mut podman, id) = match Podman::start() {
        Ok(started) => started,
        Err(reason) => {
            // Past the capture of a passing test's output: a skip is always seen.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: the docker attestor against podman: {reason}"
            );
            return;
        }
    };
    let engine = Engine::new(podman.folder.join("engine.sock")).with_limit(Duration::from_secs(20));

    let seen = engine.container(&id).await.unwrap();
    assert_eq!((&seen.container.id, seen.container.name.as_str()), (&id, "web"));
    assert_eq!(
        seen.container.labels.get("rolecall.application").map(String::as_str),
        Some("orders")
    );
    assert_eq!(seen.container.labels.get("rolecall.empty").map(String::as_str), Some(""));
    assert!(seen.running);

    let pid = seen.pid.expect("a running container has a pid");
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let cgroup = CgroupPath::of_process(&text).expect("a unified cgroup");
    assert_eq!(cgroup.container(), Some(&id), "{cgroup}");

    let labels = Conditions::default().with_label("rolecall.application", "orders").unwrap();
    let both = labels.with_cgroup("/libpod_parent/**").unwrap();
    let rule = Rule::new("orders".parse().unwrap(), "prod".parse().unwrap(), both).unwrap();
    let rules = Rules::new(vec![rule]);
    let evidence =
        |container| Evidence { cgroup: Some(cgroup.clone()), container, ..Evidence::default() };
    let attested = attest(&rules, &evidence(Some(seen.container.clone()))).attested().unwrap();
    assert_eq!(attested.workload().to_string(), format!("orders/prod/{}", id.short()));
    let silent = attest(&rules, &evidence(None));
    assert!(matches!(silent, Verdict::Refused(Refusal::Disagree { .. })), "{silent:?}");

    podman.tell("stop");
    let seen = engine.container(&id).await.unwrap();
    assert_eq!((seen.running, seen.pid), (false, None));

    podman.tell("remove");
    let error = engine.container(&id).await.unwrap_err();
    assert_eq!(error, EngineError::NoSuchContainer(id));
}
