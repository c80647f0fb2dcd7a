//! How long the kernel's part of a verdict takes on this machine. Needs root.
//!
//! `cargo run --release -p rolecall-linux --example attest`

use std::{
    error::Error,
    fs,
    net::TcpStream,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use linux::{Cgroups, Diag, DoorAddress, Listeners, Namespace, Plan};

fn main() -> Result<(), Box<dyn Error>> {
    let plan = Plan::default();
    let (mut doors_times, mut diag_times) = (Vec::new(), Vec::new());
    for _ in 0..NAMESPACES {
        let namespace = Namespace::create("measured")?;
        let start = Instant::now();
        let _doors = Listeners::open(&namespace, &plan)?;
        doors_times.push(start.elapsed());
        let start = Instant::now();
        let _diag = Diag::open(&namespace)?;
        diag_times.push(start.elapsed());
    }
    print_times("open all doors of a namespace", doors_times);
    print_times("open the line to the kernel", diag_times);

    let namespace = Namespace::create("measured")?;
    let mut doors = Listeners::open(&namespace, &plan)?;
    let diag = Diag::open(&namespace)?;
    let cgroups = Cgroups::open()?;
    let cgroup = Cgroup::new(&cgroups)?;
    let address = (DoorAddress::InstanceV4.ip(), 80);
    let _client = namespace.run(|| TcpStream::connect(address))??;
    let listeners = doors.take();
    let door = listeners.iter().find(|listener| listener.door == DoorAddress::InstanceV4);
    let (accepted, client) = door.ok_or("no door")?.socket.accept()?;
    let server = accepted.local_addr()?;

    let id = cgroups.at(&cgroup.path)?.ok_or("the root")?;
    report("socket lookup", || diag.lookup(client, server).map(drop).is_ok());
    let mut cold = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let cgroups = Cgroups::open()?;
        let start = Instant::now();
        cgroups.path_of(id)?;
        cold.push(start.elapsed());
    }
    print_times("cgroup path, cold", cold);
    report("cgroup path, warm", || cgroups.path_of(id).is_ok());
    report("both, warm", || diag.lookup(client, server).is_ok() && cgroups.path_of(id).is_ok());
    Ok(())
}

fn report(what: &str, mut work: impl FnMut() -> bool) {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        assert!(work(), "{what} failed");
        times.push(start.elapsed());
    }
    print_times(what, times);
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!("{what}: p50 {:?}, p99 {:?}", at(50), at(99));
}

/// A cgroup three levels deep, as a container's is.
struct Cgroup {
    path: String,
    folders: Vec<PathBuf>,
}

impl Cgroup {
    fn new(cgroups: &Cgroups) -> Result<Self, Box<dyn Error>> {
        let mut path = String::new();
        let mut folders = Vec::new();
        for name in [format!("rolecall-{}", process::id()), "pod".into(), "container".into()] {
            path = format!("{path}/{name}");
            let folder = cgroups.mount_point().join(path.trim_start_matches('/'));
            fs::create_dir(&folder)?;
            folders.push(folder);
        }
        Ok(Self { path, folders })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in self.folders.iter().rev() {
            if let Err(error) = fs::remove_dir(folder) {
                eprintln!("cannot remove `{}`: {error}", folder.display());
            }
        }
    }
}

const ROUNDS: usize = 20_000;
const NAMESPACES: usize = 100;
