//! The demo on a private host: a network namespace for each workload, a cgroup where there are any.

use std::io::{BufRead, stdin};

use practice::{
    agent::about,
    host::Workload,
    program::{Invocation, Running},
    stage::{Scene, Source, Stage},
};
use serde_json::Value;

use super::{APPLICATIONS, CLIENTS, Options, PROGRAM, Shown, show, step, trouble, typed};
use crate::trouble::Trouble;

/// Where a workload finds metadata.
const METADATA: &str = "http://169.254.169.254";

pub(super) fn run(options: &Options) -> Result<Shown, Trouble> {
    let source = if options.standalone {
        step("starting the practice cloud (moto) and the agent, with bindings in its file");
        Source::WebIdentity
    } else {
        step("starting the server, the practice cloud (moto) and the agent; this is typed:");
        Source::Server(typed)
    };
    let stage = Stage::set(&Scene::default().source(source).by_cgroup()).map_err(trouble)?;
    if let Err(why) = stage.workspace.cgroups() {
        step(&format!(
            "no cgroups of our own ({why}): workloads are told apart by namespace alone"
        ));
    }
    // What the agent said is gone with the stage, so it is told here if anything goes wrong.
    play(&stage, options).inspect_err(|_| {
        step(&format!("the agent said:\n{}", stage.agent.said()));
        let lines = stage.agent.access().unwrap_or_default();
        lines.iter().for_each(|line| step(&line.to_string()));
    })
}

fn play(stage: &Stage, options: &Options) -> Result<Shown, Trouble> {
    let mut shown = Shown::default();
    let mut workloads = Vec::new();
    for name in APPLICATIONS {
        let workload = stage.workload(name).map_err(trouble)?;
        // A process that stays: its namespace can be entered while the demo waits.
        let resident = workload.start(Invocation::new("sleep").arg("infinity")).map_err(trouble)?;
        act(stage, &workload, &mut shown)?;
        workloads.push((workload, resident));
    }
    trespass(stage, &workloads, &mut shown)?;
    show::print(&shown, options.json)?;
    if !options.once {
        wait(stage, &workloads)?;
    }
    Ok(shown)
}

/// Runs every program in a workload, and reads in the access log how the agent knew it.
fn act(stage: &Stage, workload: &Workload, shown: &mut Shown) -> Result<(), Trouble> {
    let name = workload.name();
    let application = stage.cloud.application(name);
    let application =
        application.ok_or_else(|| Trouble::Missing(format!("no account `{name}`")))?;
    let role = application.role_arn.clone().unwrap_or_default();
    let mut answers = Vec::new();
    for client in CLIENTS {
        step(&format!("{name}: {client}, unchanged, asks who it is and uses its bucket"));
        let errand = stage.errand(name).map_err(trouble)?.bucket(&application.bucket);
        let place = |invocation| workload.place(invocation);
        answers.push(client.run(&stage.tools, &errand, &place, PROGRAM).map_err(trouble)?);
    }
    shown.acted(name, evidence(stage, name)?, role, &answers);
    Ok(())
}

/// What the agent recorded of the workload's last request for credentials.
fn evidence(stage: &Stage, name: &str) -> Result<String, Trouble> {
    let lines = stage.agent.access().map_err(trouble)?;
    let last = about(&lines, name)
        .into_iter()
        .rfind(|line| line.get("role").is_some_and(Value::is_string))
        .cloned();
    let seen = last.unwrap_or_default();
    let evidence = seen.get("evidence");
    let part = |key: &str| Some(format!("{key} {}", evidence?.get(key)?.as_str()?));
    let parts: Vec<String> = ["netns", "cgroup"].into_iter().filter_map(part).collect();
    Ok(if parts.is_empty() { "none".to_owned() } else { parts.join(" and ") })
}

/// `orders` tries to get at what belongs to `billing`, in three ways.
fn trespass(
    stage: &Stage,
    workloads: &[(Workload, Running)],
    shown: &mut Shown,
) -> Result<(), Trouble> {
    let [(orders, _), (billing, _)] = workloads else { return Ok(()) };
    let role = format!("{METADATA}/latest/meta-data/iam/security-credentials/billing");

    let (_, token) = ask(stage, orders, "PUT", &format!("{METADATA}/latest/api/token"), "")?;
    let (status, _) = ask(stage, orders, "GET", &role, &token)?;
    shown.attempted("orders", "the credentials of billing's role, by name", "404", &status);

    let (status, _) = ask(stage, billing, "GET", &role, &token)?;
    shown.attempted("a thief in billing's namespace", "to use a token of orders", "401", &status);

    if let (Ok(_), Some(namespace)) = (stage.workspace.cgroups(), billing.namespace()) {
        // Enters billing's namespace from the cgroup of orders: the kernel's two proofs disagree.
        let program = python(stage, "GET", &role, &token)?;
        let enter = [format!("--net={}", namespace.display()), "--".to_owned()];
        let nsenter = stage.tools.nsenter().map_err(trouble)?;
        let entered = program.through(nsenter, enter);
        let finished = in_cgroup_alone(orders, entered).run(PROGRAM).map_err(trouble)?;
        let (status, _) = parse(&finished.success().map_err(trouble)?.stdout)?;
        let wanted = "billing's credentials from inside billing's namespace";
        shown.attempted("a process of orders' cgroup", wanted, "403", &status);
    }
    Ok(())
}

/// `invocation`, started in a workload's cgroup but not in its namespace.
fn in_cgroup_alone(workload: &Workload, invocation: Invocation) -> Invocation {
    let Some(folder) = workload.cgroup_folder() else { return invocation };
    let script = "echo $$ > \"$0\" && exec \"$@\"";
    let procs = folder.join("cgroup.procs").into_os_string();
    invocation.through("sh", ["-c".into(), script.into(), procs])
}

/// One request of a workload, by hand: its status and its body.
fn ask(
    stage: &Stage,
    workload: &Workload,
    method: &str,
    url: &str,
    token: &str,
) -> Result<(String, String), Trouble> {
    let program = python(stage, method, url, token)?;
    let finished = workload.run(program, PROGRAM).map_err(trouble)?.success().map_err(trouble)?;
    parse(&finished.stdout)
}

fn python(stage: &Stage, method: &str, url: &str, token: &str) -> Result<Invocation, Trouble> {
    let python = stage.tools.python().map_err(trouble)?;
    Ok(Invocation::new(python).args(["-c", REQUEST, method, url, token]))
}

fn parse(line: &str) -> Result<(String, String), Trouble> {
    let [status, body]: [Value; 2] = serde_json::from_str(line).map_err(trouble)?;
    Ok((status.to_string(), body.as_str().unwrap_or_default().to_owned()))
}

/// A client that says what it got: status and body as JSON.
const REQUEST: &str = "
import json, sys, urllib.error, urllib.request
method, url, token = sys.argv[1:]
request = urllib.request.Request(url, method=method)
if method == 'PUT':
    request.add_header('X-aws-ec2-metadata-token-ttl-seconds', '60')
else:
    request.add_header('X-aws-ec2-metadata-token', token)
try:
    answer = urllib.request.urlopen(request, timeout=5)
except urllib.error.HTTPError as refused:
    answer = refused
print(json.dumps([answer.status, answer.read().decode()]))
";

/// Lets a person look around.
fn wait(stage: &Stage, workloads: &[(Workload, Running)]) -> Result<(), Trouble> {
    step("");
    step("Look around from another terminal, as the same user:");
    let aws = stage.tools.aws().map_err(trouble)?;
    for (workload, resident) in workloads {
        step(&format!(
            "  {}: nsenter --target {} --net --mount --user --preserve-credentials env AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION=eu-west-1 {} sts get-caller-identity",
            workload.name(),
            resident.id(),
            stage.cloud.endpoint(),
            aws.display(),
        ));
    }
    step(&format!("The access log: {}", stage.agent.plan().access_log().display()));
    step("Press Enter to end the demo.");
    // Whatever ends the input ends the demo.
    let _ = stdin().lock().read_line(&mut String::new());
    Ok(())
}
