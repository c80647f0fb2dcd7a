//! The demo where there are no namespaces: an agent and a loopback listener for each workload.
//!
//! Nobody is told apart by the kernel here: whoever connects to a listener is its workload. That is
//! for development, and the demo says so.

use std::{
    io::{BufRead, Read, Write, stdin},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
};

use practice::{
    agent::{Agent, Plan, built},
    clients::Errand,
    cloud::{Cloud, Layout},
    control::Control,
    program::Invocation,
    stage::{ENVIRONMENT, ISSUER, REGION},
    tools::Tools,
};

use super::{APPLICATIONS, CLIENTS, Options, PROGRAM, Shown, show, step, trouble, typed};
use crate::trouble::Trouble;

/// An agent for one workload, and where it listens.
struct Listening {
    name: &'static str,
    role: String,
    bucket: String,
    address: SocketAddr,
    _agent: Agent,
}

pub(super) fn run(tools: &Tools, options: &Options) -> Result<Shown, Trouble> {
    let folder = tempfile::tempdir().map_err(trouble)?;
    let issuer = folder.path().join("issuer");
    let control = match options.standalone {
        true => None,
        false => {
            step("starting the server; this is typed:");
            Some(Control::start(folder.path(), ISSUER, typed).map_err(trouble)?)
        }
    };
    let layout = Layout::new(IpAddr::V4(Ipv4Addr::LOCALHOST), folder.path().join("cloud"));
    let mut layout = layout.issuer(ISSUER, &issuer);
    if let (Some(control), Some(issuer)) = (&control, &mut layout.issuer) {
        issuer.documents = control.server.plan().issuer_url();
    }
    let cloud = Cloud::start(tools, &layout).map_err(trouble)?;
    if let Some(control) = &control {
        // Nobody is told apart here, but a binding names what it would take to be told apart.
        let by_unit = |name: &str| vec!["--match-unit".to_owned(), format!("{name}.service")];
        control.bind(cloud.applications(), ENVIRONMENT, by_unit).map_err(trouble)?;
        control.switch("on", "the first hosts").map_err(trouble)?;
    }
    let mut shown = Shown::default();
    let mut all = Vec::new();
    for name in APPLICATIONS {
        let listening = listen(name, &cloud, folder.path(), &issuer, control.as_ref())?;
        act(tools, &cloud, &listening, folder.path(), &mut shown)?;
        all.push(listening);
    }
    if let [orders, billing] = all.as_slice() {
        trespass(orders, billing, &mut shown)?;
    }
    show::print(&shown, options.json)?;
    if !options.once {
        step("Press Enter to end the demo.");
        // Whatever ends the input ends the demo.
        let _ = stdin().lock().read_line(&mut String::new());
    }
    Ok(shown)
}

fn listen(
    name: &'static str,
    cloud: &Cloud,
    folder: &Path,
    issuer: &Path,
    control: Option<&Control>,
) -> Result<Listening, Trouble> {
    let application = cloud.application(name);
    let application =
        application.ok_or_else(|| Trouble::Missing(format!("no account `{name}`")))?;
    let role = application.role_arn.clone().unwrap_or_default();
    // Free a moment ago; if somebody takes it meanwhile, the agent says so and the demo fails.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(trouble)?;
    let address = free.local_addr().map_err(trouble)?;
    drop(free);
    let plan = Plan::new(built("rolecall-agent").map_err(trouble)?, folder.join(name));
    let plan = plan.map_err(trouble)?;
    let endpoint = cloud.endpoint();
    let metadata =
        format!("listen = [\"{address}\"]\nworkload = \"{name}/{ENVIRONMENT}/loopback\"");
    let source = match control {
        Some(control) => format!("[server]\naddresses = [{:?}]\n", control.server.plan().url()),
        None => format!(
            "[issuer]\nurl = {ISSUER:?}\n[[binding]]\napplication = {name:?}\n\
             environment = {ENVIRONMENT:?}\nrole = {role:?}\nsource = \"web-identity\"\n"
        ),
    };
    let rest = format!("[sts]\nendpoint = {endpoint:?}\n[metadata]\n{metadata}\n{source}");
    plan.write(REGION, &rest).map_err(trouble)?;
    match control {
        Some(control) => control.join(&plan.config()).map_err(trouble)?,
        None => export(&plan.config(), issuer)?,
    }
    let agent = plan.start().map_err(trouble)?;
    let bucket = application.bucket.clone();
    Ok(Listening { name, role, bucket, address, _agent: agent })
}

/// Publishes the keys of an agent's own issuer. Each has its own here, so the published documents follow whoever
/// asks next.
fn export(config: &Path, issuer: &Path) -> Result<(), Trouble> {
    let export = Invocation::new(built("rolecall").map_err(trouble)?);
    let export = export.args(["issuer", "export", "--config"]).arg(config);
    let exported = export.arg("--out").arg(issuer).run(PROGRAM).and_then(|f| f.success());
    exported.map(drop).map_err(trouble)
}

fn act(
    tools: &Tools,
    cloud: &Cloud,
    listening: &Listening,
    folder: &Path,
    shown: &mut Shown,
) -> Result<(), Trouble> {
    let Listening { name, role, bucket, address, .. } = listening;
    let mut answers = Vec::new();
    for client in CLIENTS {
        step(&format!("{name}: {client}, unchanged, asks who it is and uses its bucket"));
        let errand = Errand::new(cloud.endpoint(), REGION, &folder.join(name)).map_err(trouble)?;
        let metadata = format!("http://{address}");
        let errand = errand.bucket(bucket).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata);
        answers.push(client.run(tools, &errand, &|here| here, PROGRAM).map_err(trouble)?);
    }
    let evidence = format!("loopback {address} (development)");
    shown.acted(name, evidence, role.clone(), &answers);
    Ok(())
}

fn trespass(orders: &Listening, billing: &Listening, shown: &mut Shown) -> Result<(), Trouble> {
    let put = "PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";
    let (_, token) = ask(orders.address, put)?;
    let path = format!("/latest/meta-data/iam/security-credentials/{}", billing.name);
    let get = format!("GET {path} HTTP/1.0\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n");
    let (status, _) = ask(orders.address, &get)?;
    shown.attempted("orders", "the credentials of billing's role, by name", "404", &status);
    let (status, _) = ask(billing.address, &get)?;
    shown.attempted("a thief at billing's listener", "to use a token of orders", "401", &status);
    Ok(())
}

/// One request: its status and its body.
fn ask(address: SocketAddr, request: &str) -> Result<(String, String), Trouble> {
    let mut stream = TcpStream::connect(address).map_err(trouble)?;
    stream.set_read_timeout(Some(PROGRAM)).map_err(trouble)?;
    stream.write_all(request.as_bytes()).map_err(trouble)?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).map_err(trouble)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    Ok((head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned()))
}
