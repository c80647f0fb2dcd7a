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
    program::Invocation,
    stage::{ENVIRONMENT, ISSUER, REGION},
    tools::Tools,
};

use super::{APPLICATIONS, CLIENTS, Options, PROGRAM, Shown, show, step, trouble};
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
    let layout = Layout::new(IpAddr::V4(Ipv4Addr::LOCALHOST), folder.path().join("cloud"));
    let cloud = Cloud::start(tools, &layout.issuer(ISSUER, &issuer)).map_err(trouble)?;
    let mut shown = Shown::default();
    let mut all = Vec::new();
    for name in APPLICATIONS {
        let listening = listen(name, &cloud, folder.path(), &issuer)?;
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
    let rest = format!(
        "[sts]\nendpoint = {:?}\n[issuer]\nurl = {ISSUER:?}\n\
         [metadata]\nlisten = [\"{address}\"]\nworkload = \"{name}/{ENVIRONMENT}/loopback\"\n\
         [[binding]]\napplication = {name:?}\nenvironment = {ENVIRONMENT:?}\n\
         role = {role:?}\nsource = \"web-identity\"\n",
        cloud.endpoint()
    );
    plan.write(REGION, &rest).map_err(trouble)?;
    // Each agent has keys of its own here, so the published documents follow whoever asks next.
    let export = Invocation::new(built("rolecall").map_err(trouble)?);
    let export = export.args(["issuer", "export", "--config"]).arg(plan.config());
    export.arg("--out").arg(issuer).run(PROGRAM).and_then(|f| f.success()).map_err(trouble)?;
    let agent = plan.start().map_err(trouble)?;
    let bucket = application.bucket.clone();
    Ok(Listening { name, role, bucket, address, _agent: agent })
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
