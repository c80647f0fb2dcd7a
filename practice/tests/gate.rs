//! The gate's own tests, in Python: every lie gets AWS's own error, and the truth gets through.

use std::time::Duration;

use practice::program::Invocation;
use practice::tools::Tools;

#[test]
fn the_gate_answers_every_lie_as_aws_does() {
    let tools = Tools::find();
    let ran = Invocation::new(tools.python().unwrap())
        .args(["-m", "unittest", "--verbose", "test_gate"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .folder(tools.sources().join("python"))
        .run(Duration::from_secs(120))
        .unwrap();
    // unittest is content with no tests at all.
    let tests = ran.stderr.matches(" ... ok").count();
    assert!(ran.code == Some(0) && tests >= 40, "{tests} tests:\n{}", ran.stderr);
}
