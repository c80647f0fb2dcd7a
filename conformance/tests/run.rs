//! The kit against implementations that are written down here, right and wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

use conformance::{
    Case, Exchange, InvalidUrl, Outcome, Report, Requirement, Run, Severity, Targets,
    metadata_cases,
};

fn cases(json: &str) -> Vec<Case> {
    serde_json::from_str(json).unwrap()
}

fn targets() -> Targets {
    Targets::new("http://127.0.0.1:1338").unwrap()
}

fn drive(cases: &[Case], targets: Targets, answer: impl Fn(&Exchange) -> String) -> Report {
    let mut run = Run::new(cases, targets);
    while let Some(exchange) = run.next_exchange() {
        run.answered(answer(&exchange).as_bytes());
    }
    run.report().clone()
}

const CASES: &str = r#"[{
    "name": "what was captured is sent", "source": "here", "severity": "must", "door": "instance",
    "steps": [
        {"method": "PUT", "target": "/t", "headers": [["A", "1"], ["A", "2"]],
         "expect": [{"status": 200, "capture": {"token": "body"}}]},
        {"method": "HEAD", "target": "/x\\y%zz", "headers": [["T", "${token}"]], "host": "h.example",
         "expect": [{"status": 204}]},
        {"method": "GET", "target": "/", "http_1_0": true, "expect": [{"status": 404}]}
    ]
}]"#;

#[test]
fn a_request_is_sent_byte_for_byte_on_a_connection_of_its_own() {
    let cases = cases(CASES);
    let mut run = Run::new(&cases, targets());
    let mut sent = Vec::new();
    for status in [200, 204, 404] {
        let exchange = run.next_exchange().unwrap();
        assert_eq!(exchange.authority, "127.0.0.1:1338");
        sent.push(String::from_utf8(exchange.bytes()).unwrap());
        run.answered(format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\ns3c").as_bytes());
    }
    assert!(run.next_exchange().is_none());
    assert_eq!(
        sent,
        [
            "PUT /t HTTP/1.1\r\nHost: 127.0.0.1:1338\r\nA: 1\r\nA: 2\r\nConnection: close\r\n\r\n",
            "HEAD /x\\y%zz HTTP/1.1\r\nHost: h.example\r\nT: s3c\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.0\r\nConnection: close\r\n\r\n",
        ]
    );
    assert_eq!(run.report().passed(), 1);
}

#[track_caller]
fn check_failed(answer: &str, says: &str) {
    let report = drive(&cases(CASES), targets(), |_| answer.to_owned());
    assert_eq!((report.failed(Severity::Must), report.conforms()), (1, false));
    let printed = report.to_string();
    assert!(printed.contains("FAIL") && printed.contains(says), "{printed}");
    assert!(!printed.contains("s3c"), "{printed}");
}

#[test]
fn a_failed_case_says_at_which_step_and_why() {
    check_failed("HTTP/1.1 500 X\r\n\r\ns3c", "status: expected 200, seen 500");
    check_failed("HTTP/1.1 200 X\r\n\r\ns3c", "status: expected 204, seen 200");
    check_failed("HTTP/1.1 200 X\r\n\r\ns3c\n", "one line to capture as `token`");
    check_failed("", "connection closed without an answer");
    check_failed("s3c", "answer ends too early");
    check_failed("HTTP/1.1 200 X\r\n\r\ns3c", "HEAD /x\\y%zz");
}

#[test]
fn a_connection_that_fails_is_a_failed_case_and_the_next_one_follows() {
    let cases = metadata_cases().unwrap();
    let mut run = Run::new(&cases, targets());
    while run.next_exchange().is_some() {
        run.failed("connection refused");
    }
    let report = run.report();
    assert_eq!(report.cases.len(), cases.len());
    assert_eq!(report.passed(), 0);
    assert!(report.skipped() > 0 && !report.conforms());
}

#[test]
fn a_case_whose_requirement_is_not_met_is_skipped_and_says_so() {
    let cases = metadata_cases().unwrap();
    let report = drive(&cases, targets().without(Requirement::SharedHost), |_| String::new());
    let skipped: Vec<String> = report
        .cases
        .iter()
        .filter_map(|case| match &case.outcome {
            Outcome::Skipped { why } => Some(why.clone()),
            Outcome::Passed | Outcome::Failed { .. } => None,
        })
        .collect();
    for why in ["container", "pod-identity", "no-role", "shared-host", "v1-allowed"] {
        assert!(skipped.contains(&format!("requires {why}")), "{why}: {skipped:?}");
    }
    assert!(report.to_string().contains("skip"));
}

#[test]
fn a_run_that_skipped_everything_conforms_to_nothing() {
    let none = Requirement::ALL.into_iter().fold(targets(), Targets::without);
    let cases: Vec<Case> =
        metadata_cases().unwrap().into_iter().filter(|case| !case.requires.is_empty()).collect();
    let report = drive(&cases, none, |_| unreachable!("every case is skipped"));
    assert_eq!(report.skipped(), cases.len());
    assert!(!report.conforms());
}

/// Implementations with one known defect each, seen in the field.
#[track_caller]
fn check_defect(name: &str, answer: &str) {
    let cases: Vec<Case> =
        metadata_cases().unwrap().into_iter().filter(|case| case.name == name).collect();
    let report = drive(&cases, targets(), |_| answer.to_owned());
    assert_eq!(report.failed(Severity::Must), 1, "{report}");
}

#[test]
fn defects_of_the_field_are_caught() {
    let token = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nabc";
    check_defect("the answer with a token names the life that was asked for", token);
    check_defect("a life of zero is refused with 400", token);
    check_defect("a token is not made for a request that crossed a proxy", token);
    check_defect("a token is not made under a dated version", token);
    let redirect = "HTTP/1.1 301 Moved\r\nLocation: /latest/meta-data/\r\n\r\n";
    check_defect(
        "`/latest/meta-data` lists its directories with a slash and without a redirect",
        redirect,
    );
    check_defect("credentials are not read without a token under version 1.0", token);
    let newline = "HTTP/1.1 200 OK\r\n\r\norders\n";
    check_defect("the list of roles is the role's name and nothing else", newline);
}

#[test]
fn the_report_is_json_as_well() {
    let report = drive(&cases(CASES), targets(), |_| String::new());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["cases"][0]["outcome"], "failed");
    assert_eq!(json["cases"][0]["severity"], "must");
    assert_eq!(json["cases"][0]["mismatches"][0]["part"], "connection");
}

#[test]
fn what_is_no_url_is_refused() {
    for url in
        ["", "127.0.0.1", "https://127.0.0.1", "http://", "http://a@b/", "http://a b/", "http:///x"]
    {
        assert_eq!(Targets::new(url).unwrap_err().to_string(), {
            let InvalidUrl { .. } = Targets::new(url).unwrap_err();
            format!(
                "URL must look like `http://169.254.169.254` or `http://127.0.0.1:1338/path`: `{url}`"
            )
        });
    }
    let targets = targets().with_container("http://127.0.0.1:1/v2/credentials/x", None).unwrap();
    let report = drive(&metadata_cases().unwrap(), targets, |exchange| {
        assert!(exchange.authority == "127.0.0.1:1338" || exchange.authority == "127.0.0.1:1");
        String::new()
    });
    assert!(!report.conforms());
}
