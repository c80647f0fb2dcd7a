//! The conformance kit: a case as JSON, a line `---`, and the answer that every request gets.
//! Any case can be run against any answer, and no one answer passes all of the kit's own cases.
#![no_main]

use std::sync::LazyLock;

use conformance::{AnswerSeen, Case, Report, Run, Targets, metadata_cases};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.windows(5).position(|window| window == b"\n---\n");
    let (case, answer) = at.map_or((&b""[..], bytes), |at| (&bytes[..at], &bytes[at + 5..]));
    for head in [false, true] {
        if let Ok(seen) = AnswerSeen::parse(answer, head) {
            assert!(seen.body.len() <= answer.len());
        }
    }
    if let Ok(case) = serde_json::from_slice::<Case>(case) {
        let report = run(&[case], answer);
        assert!(report.passed() + report.skipped() <= 1);
    }
    assert!(!run(&CASES, answer).conforms(), "one answer to everything conforms");
});

fn run(cases: &[Case], answer: &[u8]) -> Report {
    let targets = Targets::new("http://169.254.169.254")
        .and_then(|targets| targets.with_container("http://169.254.170.2/v2/x", Some("secret")))
        .and_then(|targets| targets.with_pod_identity("http://169.254.170.23/v1/x", "secret"));
    let mut run = Run::new(cases, targets.unwrap());
    while let Some(exchange) = run.next_exchange() {
        assert!(exchange.bytes().ends_with(b"\r\n\r\n"));
        run.answered(answer);
    }
    run.report().clone()
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| metadata_cases().unwrap());
