//! The whole kit against the real agent, and against servers that are wrong.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use practice::host::{Visit, Workload, within};
use practice::program::{Finished, Invocation};
use practice::stage::{Scene, Stage};
use practice::tools::Tools;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// `rolecall conformance metadata` with these arguments.
fn judge<T: AsRef<str>>(arguments: &[T]) -> Invocation {
    let arguments = arguments.iter().map(|argument| argument.as_ref().to_owned());
    Invocation::new(env!("CARGO_BIN_EXE_rolecall"))
        .args(["conformance", "metadata"])
        .args(arguments)
}

/// What the report says came of each case, with the case's name.
fn outcomes(report: &Finished) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let cases = report["cases"].as_array().unwrap().iter();
    let text = |case: &Value, key: &str| case[key].as_str().unwrap().to_owned();
    cases.map(|case| (text(case, "name"), text(case, "outcome"))).collect()
}

mod the_agent {
    use super::*;

    /// What the host says of itself, so that facts are told and not only absent.
    const FACTS: &str = "\
        [host]\naccount = \"111111111111\"\ninstance_id = \"i-0123456789abcdef0\"\n\
        availability_zone = \"eu-west-1a\"\navailability_zone_id = \"euw1-az1\"\n\
        mac = \"0a:1b:2c:3d:4e:5f\"\nlocal_ipv4 = \"10.77.0.1\"\ninstance_type = \"m7i.large\"\n\
        ami_id = \"ami-0123456789abcdef0\"\nhostname = \"ip-10-77-0-1.internal\"\n\
        architecture = \"x86_64\"\n";
    const DEVELOPMENT: &str = "\
        workload = \"orders/practice/laptop\"\nlisten = [\"127.0.0.1:1338\"]\n\
        listen_container = [\"127.0.0.1:1339\"]\nlisten_pod_identity = [\"127.0.0.1:1340\"]\n";
    const SERVED: Duration = Duration::from_secs(20);

    /// A stage with one workload whose lease has come, if it shall have one.
    fn set(scene: &Scene, leases: u64) -> (Stage, Workload) {
        let stage = Stage::set(scene).unwrap();
        let workload = stage.workload("orders").unwrap();
        let end = Instant::now() + SERVED;
        loop {
            let status = stage.agent.command(&["status"]).unwrap();
            let served = status["namespaces"].as_array().is_some_and(|all| !all.is_empty());
            if served && status["leases"]["held"].as_u64() >= Some(leases) {
                return (stage, workload);
            }
            assert!(Instant::now() < end, "{status:#}");
        }
    }

    /// The doors for containers, as the kit is told of them.
    fn container_doors(stage: &Stage, whose: &[&str], ecs: &str) -> Vec<String> {
        let variable = |door: &str, name: &str| {
            let words = [&["environment", "--door", door], whose].concat();
            let variables = stage.agent.command(&words).unwrap();
            variables[format!("AWS_CONTAINER_{name}")].as_str().unwrap().to_owned()
        };
        let uri = match ecs {
            "" => variable("ecs", "CREDENTIALS_FULL_URI"),
            host => host.to_owned() + &variable("ecs", "CREDENTIALS_RELATIVE_URI"),
        };
        [
            ("--container-url", uri),
            ("--container-token", variable("ecs", "AUTHORIZATION_TOKEN")),
            ("--pod-identity-url", variable("pod-identity", "CREDENTIALS_FULL_URI")),
            ("--pod-identity-token", variable("pod-identity", "AUTHORIZATION_TOKEN")),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    /// Runs the kit in `workload`, at every door; nothing fails and nothing is warned of. Returns
    /// the names of the cases that passed.
    fn conforms(stage: &Stage, workload: &Workload, options: &[&str]) -> BTreeSet<String> {
        // It has entered the workload for good when it speaks.
        let resident = Invocation::new("sh").args(["-c", "echo here; exec cat"]);
        let mut resident = workload.start(resident).unwrap();
        resident.line(LIMIT, |line| line == "here").unwrap();
        let pid = resident.id().to_string();
        let mut words = vec!["http://169.254.169.254".to_owned(), "-ojson".to_owned()];
        words.extend(container_doors(stage, &["--pid", &pid], "http://169.254.170.2"));
        words.extend(options.iter().map(|&option| option.to_owned()));
        let report = workload.run(judge(&words), LIMIT).unwrap();
        passed(&report)
    }

    #[track_caller]
    fn passed(report: &Finished) -> BTreeSet<String> {
        let outcomes = outcomes(report);
        let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome == "failed").collect();
        assert!(failed.is_empty() && report.code == Some(0), "{failed:#?}: {}", report.stdout);
        let passed = outcomes.into_iter().filter(|(_, outcome)| outcome == "passed");
        passed.map(|(name, _)| name).collect()
    }

    #[test]
    fn the_agent_passes_the_whole_kit() {
        play("the_agent::the_agent_passes_the_whole_kit", || {
            let mut shown = BTreeSet::new();
            {
                let (stage, workload) = set(&Scene::default().rest(FACTS), 1);
                shown.extend(conforms(&stage, &workload, &[]));
            }
            {
                let scene = Scene::default().binding("imdsv1 = true");
                let (stage, workload) = set(&scene, 1);
                let v1 = ["--with", "v1-allowed", "--without", "tokens-required"];
                shown.extend(conforms(&stage, &workload, &v1));
            }
            {
                let (_stage, workload) = set(&Scene::default().binding("switch = \"off\""), 0);
                let url = "http://169.254.169.254";
                let words = [url, "-ojson", "--with", "no-role", "--without", "role"];
                shown.extend(passed(&workload.run(judge(&words), LIMIT).unwrap()));
            }
            let cases = conformance::metadata_cases().unwrap();
            let missed = cases.iter().filter(|case| !shown.contains(&case.name));
            let missed: Vec<_> = missed.map(|case| &case.name).collect();
            assert!(missed.is_empty() && shown.len() > 100, "no run showed: {missed:#?}");
        });
    }

    #[test]
    fn conforms_at_its_development_listeners_too() {
        play("the_agent::conforms_at_its_development_listeners_too", || {
            let scene = Scene::default().rest(DEVELOPMENT).rest(FACTS);
            let (stage, _workload) = set(&scene, 2);
            let mut words = vec!["http://127.0.0.1:1338".to_owned()];
            words.extend(container_doors(&stage, &["--development"], ""));
            let report = judge(&words).run(LIMIT).unwrap();
            assert_eq!(report.code, Some(0), "{}", report.stdout);
            let end = report.stdout.trim_end().lines().last().unwrap();
            assert!(end.contains(" 0 failed, 0 warnings, "), "{end}");
            // The container doors were judged as well.
            for door in ["instance", "container", "pod identity"] {
                let line = format!("pass  {door} ");
                assert!(report.stdout.lines().any(|it| it.starts_with(&line)), "{}", report.stdout);
            }
        });
    }

    /// Runs `body` in a private place, unless none is to be had here.
    #[track_caller]
    fn play(name: &str, body: impl FnOnce()) {
        let tools = Tools::find();
        let missing = [tools.python(), tools.moto(), tools.ip(), tools.unshare(), tools.nsenter()];
        if let Some(missing) = missing.into_iter().find_map(Result::err) {
            println!("skipped: {missing}");
            return;
        }
        match within(name, Duration::from_secs(200), body).unwrap() {
            Visit::Done => {}
            Visit::Skipped { why } => println!("skipped: {why}"),
        }
    }
}

mod a_server {
    use super::*;

    const SECRET: &str = "planted/secret/that/no/report/may/show";

    /// A server that answers every request with what `answer` says to its head. It lives as long as
    /// the test program.
    fn serve(answer: fn(&str) -> String) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    let lines = BufReader::new(stream).lines().map_while(Result::ok);
                    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                    // The client may have what it wanted.
                    let _ = writer.write_all(answer(&head.join("\n")).as_bytes());
                });
            }
        });
        format!("http://{address}")
    }

    fn ok(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: EC2ws\r\n\
             X-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn empty(_: &str) -> String {
        ok("")
    }

    /// Right in form, but it gives the credentials to whoever asks, with a token or without.
    fn without_tokens(head: &str) -> String {
        if head.starts_with("PUT ") {
            return ok("token");
        }
        if head.contains("security-credentials/orders") {
            return ok(&format!(
                "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"ASIAIOSFODNN7EXAMPLE\",\
                 \"SecretAccessKey\":\"{SECRET}\",\"Token\":\"{SECRET}\",\
                 \"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Expiration\":\"2026-01-01T06:00:00Z\"}}"
            ));
        }
        ok("orders")
    }

    /// The report on a wrong server names what failed, in words and as JSON, and the exit code is 1.
    #[track_caller]
    fn check(answer: fn(&str) -> String, failed: &str, says: &str) {
        let url = serve(answer);
        let report = judge(&[&url]).run(LIMIT).unwrap();
        assert_eq!(report.code, Some(1), "{}{}", report.stdout, report.stderr);
        let mut lines = report.stdout.lines().skip_while(|line| {
            !(line.starts_with("FAIL  instance") && line.ends_with(&format!("  {failed}")))
        });
        let said: Vec<_> = lines.by_ref().take(4).collect();
        assert!(said.iter().any(|line| line.contains(says)), "{said:?}: {}", report.stdout);
        assert!(report.stdout.contains("source: "), "{}", report.stdout);
        let report = judge(&["-o", "json", url.as_str()]).run(LIMIT).unwrap();
        assert_eq!(report.code, Some(1));
        assert!(outcomes(&report).contains(&(failed.to_owned(), "failed".to_owned())));
        assert!(!report.stdout.contains(SECRET), "{}", report.stdout);
    }

    #[test]
    fn that_says_nothing_with_a_200_is_failed() {
        let case = "the list of roles is the role's name and nothing else";
        check(empty, case, "expected");
    }

    #[test]
    fn that_asks_for_no_token_is_failed_and_its_secrets_are_not_shown() {
        let case = "credentials are not read without a token under the newest version";
        check(without_tokens, case, "status: expected 401, seen 200");
    }

    #[test]
    fn that_hangs_up_is_failed() {
        fn nothing(_: &str) -> String {
            String::new()
        }
        let case = "the list of roles is the role's name and nothing else";
        check(nothing, case, "connection closed without an answer");
    }

    #[test]
    fn that_is_not_there_is_no_verdict() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let said = judge(&[format!("http://{address}")]).run(LIMIT).unwrap();
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
        assert!(
            said.stderr.contains(&address) && said.stderr.contains("refused"),
            "{}",
            said.stderr
        );
    }

    /// Wrong input is told apart from a wrong server by the exit code.
    #[track_caller]
    fn check_input(arguments: &[&str], says: &str) {
        let said = judge(arguments).run(LIMIT).unwrap();
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{}", said.stderr);
        assert!(said.stderr.contains(says), "{}", said.stderr);
    }

    #[test]
    fn that_cannot_be_named_is_wrong_input() {
        check_input(&["127.0.0.1:1338"], "URL must look like");
        check_input(&["https://169.254.169.254"], "URL must look like");
        check_input(&["http://127.0.0.1", "--without", "rolle"], "`rolle`");
        check_input(&["http://127.0.0.1", "--container-token", "t"], "--container-url");
        check_input(
            &["http://127.0.0.1", "--pod-identity-url", "http://127.0.0.1/v1/credentials"],
            "--pod-identity-token",
        );
        check_input(&[], "<URL>");
    }
}
