//! The practice clients, which know nothing of Rolecall, with a shim beside their SDK.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use calls::{Event, Line, Losses, Names, Needs, Objects, Outcome, decode, name, redact};
use practice::{
    clients::{Client, Errand},
    cloud::{Cloud, Layout},
    program::Invocation,
    shims::Shim,
    tools::Tools,
};

use crate::heard::{heard, listen};

const LIMIT: Duration = Duration::from_secs(120);

/// What the agent makes of the lines of one process: action → resources, for each call.
struct Told {
    language: String,
    needs: BTreeMap<String, Names>,
    calls: u64,
    bye: Option<u64>,
}

fn read(lines: &[Vec<u8>], key: &str) -> Told {
    let mut told = Told { language: String::new(), needs: BTreeMap::new(), calls: 0, bye: None };
    for line in lines {
        let decoded = decode(line).unwrap();
        assert_eq!(decoded.ignored, 0, "{}", String::from_utf8_lossy(line));
        match decoded.line {
            Line::Hello(hello) => told.language = hello.language.into_owned(),
            Line::Event(event) => told.take(event, key),
            Line::Bye(losses) => told.bye = Some(losses.total()),
            Line::Losses(losses) => assert_eq!(losses, Losses::default()),
        }
    }
    told
}

impl Told {
    fn take(&mut self, mut event: Event<'_>, key: &str) {
        assert_eq!(redact(&mut event), 0, "the shim let something through: {event:?}");
        assert_eq!(event.outcome, Outcome::Done, "{event:?}");
        assert_eq!(event.key.as_ref().map(calls::AccessKeyId::as_str), Some(key), "{event:?}");
        assert!(event.request_id.is_some() && event.status == Some(200), "{event:?}");
        self.calls += event.count;
        let Needs::These(needs) = name(&event, None, Objects::Whole).needs else {
            panic!("nobody knows {event:?}");
        };
        self.needs.extend(needs);
    }
}

/// Runs a client against moto, which lets the host's key into every bucket, with a shim put in by `dress` alone.
#[track_caller]
fn check(client: Client, dress: &dyn Fn(&Tools, Invocation) -> Invocation) {
    let tools = Tools::find();
    let place = tempfile::tempdir().unwrap();
    let layout = Layout::new(Ipv4Addr::LOCALHOST.into(), place.path().join("cloud"));
    let cloud = Cloud::start(&tools, &layout).unwrap();
    let socket = place.path().join("calls.sock");
    let told = listen(&socket);
    let errand = Errand::new(&format!("http://{}", cloud.moto()), &layout.region, place.path());
    let errand = errand.unwrap().bucket(&cloud.applications()[0].bucket);
    let put = |program: Invocation| {
        let program = dress(&tools, program).env("ROLECALL_CALLS_SOCKET", &socket);
        program.envs(cloud.host().environment())
    };
    let answer = client.run(&tools, &errand, &put, LIMIT).unwrap();
    let told = read(&heard(&told), &cloud.host().access_key_id);

    let language = if client == Client::Js { "javascript" } else { client.name() };
    assert_eq!(told.language, language);
    assert_eq!((told.calls, told.bye), (3, Some(0)), "{:?}", told.needs);
    let object = format!("arn:aws:s3:::{}/{}", answer.bucket.unwrap(), answer.object.unwrap());
    let on = Names::These([object].into());
    assert_eq!(told.needs.get("s3:PutObject"), Some(&on));
    assert_eq!(told.needs.get("s3:GetObject"), Some(&on));
    assert_eq!(told.needs.len(), 2, "who one is may be asked without leave: {:?}", told.needs);
}

#[test]
fn an_unchanged_python_program_tells_of_its_calls_by_what_pip_installed() {
    check(Client::Python, &|tools, program| program.program(Shim::Python.hook(tools).unwrap()));
}

#[test]
fn an_unchanged_java_program_tells_of_its_calls_with_an_agent_beside_it() {
    check(Client::Java, &|tools, program| {
        let jar = Shim::Java.hook(tools).unwrap();
        program.env("JAVA_TOOL_OPTIONS", format!("-javaagent:{}", jar.display()))
    });
}

#[test]
fn an_unchanged_javascript_program_tells_of_its_calls_with_a_module_that_node_requires() {
    check(Client::Js, &|tools, program| {
        let hook = Shim::Js.hook(tools).unwrap();
        program.env("NODE_OPTIONS", format!("--require={}", hook.display()))
    });
}

#[test]
fn an_unchanged_go_program_tells_of_its_calls_when_it_is_built_with_the_overlay() {
    check(Client::Go, &|tools, program| program.program(Shim::Go.hook(tools).unwrap()));
}
