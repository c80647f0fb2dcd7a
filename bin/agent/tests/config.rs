//! Files that are right, and files that are not: what `rolecall-agent check` says of them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::time::Duration;

use practice::program::{Finished, Invocation};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

/// Ten lines; line 5 begins the binding, line 10 is its last.
const GOOD: &str = "region = \"eu-central-1\"
[issuer]
url = \"https://issuer.example.com\"

[[binding]]
application = \"orders\"
environment = \"prod\"
role = \"arn:aws:iam::222222222222:role/orders\"
source = \"web-identity\"
match = { netns = \"orders-*\" }
";

/// Lets the agent read a file from its standard input.
fn read(text: &str, arguments: &[&str]) -> Finished {
    let agent = Invocation::new(env!("CARGO_BIN_EXE_rolecall-agent"));
    let agent = agent.args(["--config", "/dev/stdin"]).args(arguments.iter().copied());
    let mut running = agent.start().unwrap();
    running.say(text).unwrap();
    running.close_input();
    running.wait(LIMIT).unwrap()
}

/// What is said of the good file with `old` replaced by `new`.
#[track_caller]
fn check(old: &str, new: &str, says: &str) {
    assert!(GOOD.contains(old), "`{old}`");
    check_text(&GOOD.replacen(old, new, 1), says);
}

/// What is said of the good file with more lines, from line 11 on.
#[track_caller]
fn check_more(lines: &str, says: &str) {
    check_text(&format!("{GOOD}{lines}"), says);
}

#[track_caller]
fn check_text(text: &str, says: &str) {
    let finished = read(text, &["check"]);
    let expected = format!("rolecall-agent: /dev/stdin{says}\n");
    assert_eq!((finished.stderr.as_str(), finished.code), (expected.as_str(), Some(2)));
    assert_eq!(finished.stdout, "");
}

#[test]
fn a_file_that_is_no_toml_is_refused_at_the_place() {
    check("\"eu-central-1\"", "\"eu-central-1", ":1:23: invalid basic string, expected `\"`");
    check("environment", "application", ":7:1: duplicate key");
    // Columns count what a person sees.
    check("\"prod\"", "\"ä\" ö", ":7:19: unexpected key or value, expected newline, `#`");
    check_text("", ":1:1: missing field `region`");
}

#[test]
fn a_misspelt_key_is_an_error_that_lists_the_right_ones() {
    check_more(
        "imdsv2 = true\n",
        ":11:1: unknown field `imdsv2`, expected one of `application`, `environment`, `match`, \
         `role`, `source`, `audience`, `external_id`, `tags`, `imdsv1`, `switch`, `duration_minutes`",
    );
    check(
        "netns",
        "namespace",
        ":10:11: unknown field `namespace`, expected one of `netns`, `cgroup`, `unit`, `labels`, \
         `address`",
    );
    check_more(
        "[logs]\n",
        ":11:2: unknown field `logs`, expected one of `data`, `region`, \
        `metadata`, `host`, `sts`, `issuer`, `server`, `log`, `admin`, `calls`, `docker`, \
        `binding`",
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_where_it_stands() {
    check_more("imdsv1 = \"yes\"\n", ":11:10: invalid type: string \"yes\", expected a boolean");
    check_more("switch = \"maybe\"\n", ":11:10: unknown variant `maybe`, expected `on` or `off`");
    check(
        "\"web-identity\"",
        "\"oidc\"",
        ":9:10: unknown variant `oidc`, expected `web-identity` or `assume-role`",
    );
    check("source = \"web-identity\"\n", "", ":5:1: missing field `source`");
    check_more(
        "[metadata]\nredirect = { port = 0 }\n",
        ":12:21: invalid value: integer `0`, expected a nonzero u16",
    );
}

#[test]
fn numbers_of_the_recording_of_calls_have_bounds_and_units() {
    let cases = [
        ("spool_mib = 1", "`spool_mib` must be 16 to 1048576 MiB"),
        ("table_mib = 0", "`table_mib` must be 1 to 4096 MiB"),
        ("count_s = 0", "`count_s` must be 1 to 3600 seconds"),
        ("lines_per_second = 1", "`lines_per_second` must be 10 to 10000000 lines a second"),
    ];
    for (line, reason) in cases {
        check_more(&format!("[calls]\n{line}\n"), &format!(":12:1: {reason}"));
    }
}

#[test]
fn a_name_that_aws_would_not_take_is_refused_with_one_that_it_would() {
    check("eu-central-1", "Frankfurt", ":1:10: region must look like `eu-central-1`: `Frankfurt`");
    check(
        "arn:aws:iam::222222222222:role/orders",
        "orders",
        ":8:8: ARN must look like `arn:aws:service:region:account:resource`: `orders`",
    );
    check(
        "role/orders",
        "user/orders",
        ":8:8: role ARN must look like `arn:aws:iam::111122223333:role/name`: \
         `arn:aws:iam::222222222222:user/orders`",
    );
    check("222222222222", "22", ":8:8: account id must be twelve digits: `22`");
    check(
        "\"orders\"",
        "\"or ders\"",
        ":6:15: application must be 1 to 64 of `A-Z a-z 0-9 . _ -`: `or ders`",
    );
    check("\"prod\"", "\"\"", ":7:15: environment must be 1 to 64 of `A-Z a-z 0-9 . _ -`: ``");
    check(
        "https://issuer.example.com",
        "http://issuer.example.com",
        ":3:7: issuer URL must start with `https://` outside practice: `http://issuer.example.com`",
    );
}

#[test]
fn a_rule_that_could_not_tell_anybody_apart_is_refused() {
    check(
        "match = { netns = \"orders-*\" }\n",
        "",
        ":5:1: rule for `orders/prod` needs a condition: `netns`, `cgroup`, `unit`, `labels` or \
         `address`",
    );
    check("orders-*", "", ":10:11: `netns`: pattern must not be empty; `*` matches any text");
    check(
        "orders-*",
        "orders-[",
        ":10:11: `netns`: pattern `orders-[` is not legal: unclosed character class; missing ']'",
    );
    check(
        "netns = \"orders-*\"",
        "unit = \"orders.service\", address = \"10.0.0.0/8\"",
        ":10:36: `address` decides only with `metadata.trust_addresses = true`: addresses can be \
         forged and are reused",
    );
    check(
        "netns = \"orders-*\"",
        "labels = { app = \"orders\" }",
        ":10:11: `labels` needs a [docker] section with the engine's `socket`: without it no label \
         is ever known",
    );
    let forged = GOOD.replace("netns = \"orders-*\"", "address = \"10.0.0.1/8\"");
    check_text(
        &format!("{forged}[metadata]\ntrust_addresses = true\n"),
        ":10:11: `address`: network must look like `10.0.0.0/8` or `fd00::1`, with no bit behind \
         the prefix: `10.0.0.1/8`",
    );
}

#[test]
fn what_sts_would_refuse_is_refused_before_it_is_asked() {
    check_more(
        "external_id = \"abc\"\n",
        ":11:1: `external_id` belongs to `source = \"assume-role\"`",
    );
    let lent = GOOD.replace("web-identity", "assume-role");
    check_text(
        &format!("{lent}audience = \"abc\"\n"),
        ":11:1: `audience` belongs to `source = \"web-identity\"`",
    );
    check_text(
        &format!("{lent}external_id = \"a\"\n"),
        ":11:1: external id must be 2 to 1224 of `A-Z a-z 0-9 _ + = , . @ : / -`: `a`",
    );
    check_more(
        "duration_minutes = 5\n",
        ":11:1: duration must be 15 minutes to 12 hours, not 300 s",
    );
    check_more(
        "tags = { application = \"x\" }\n",
        ":11:1: tag `application` is set by rolecall to what the workload is; choose another key",
    );
    check_more(
        "tags = { \"aws:x\" = \"x\" }\n",
        ":11:1: tag key must not start with `aws:`: `aws:x`",
    );
    check(
        "[issuer]\nurl = \"https://issuer.example.com\"\n",
        "",
        ":3:1: `source = \"web-identity\"` needs an [issuer] section with its `url`",
    );
    let (_, binding) = GOOD.split_once("\n\n").unwrap();
    check_more(binding, ":11:1: binding 1 is for the same; keep one of the two");
}

#[test]
fn a_number_out_of_its_bounds_is_refused_with_the_bounds() {
    check_more("[metadata]\nhop_limit = 0\n", ":12:1: `hop_limit` must be 1 to 64 hops");
    check_more(
        "[metadata]\n  connections_max = 0\n",
        ":12:3: `connections_max` must be 1 to 65536",
    );
    for seconds in [0, 16] {
        let lines = format!("[sts]\ntimeout_s = {seconds}\n");
        check_more(&lines, ":12:1: `timeout_s` must be 1 to 15 seconds");
    }
    check_good(&format!("{GOOD}[sts]\ntimeout_s = 15\n"), &json!([orders()]));
}

#[test]
fn a_development_listener_is_on_loopback_and_for_one_workload() {
    check_more(
        "[metadata]\nlisten = [\"0.0.0.0:80\"]\n",
        ":12:1: a development listener must be on loopback, not `0.0.0.0:80`",
    );
    check_more(
        "[metadata]\nlisten_container = [\"10.0.0.1:80\"]\n",
        ":12:1: a development listener must be on loopback, not `10.0.0.1:80`",
    );
    check_more(
        "[metadata]\nlisten_pod_identity = [\"[::1]:8080\"]\n",
        ":12:1: a development listener needs `workload = \"application/environment/instance\"`: \
         whoever connects is that workload",
    );
    let listen = "[metadata]\nlisten = [\"127.0.0.1:8080\"]\nworkload = ";
    check_more(
        &format!("{listen}\"orders\"\n"),
        ":13:1: workload must look like `application/environment/instance`: `orders`",
    );
    check_more(
        &format!("{listen}\"billing/prod/1\"\n"),
        ":13:1: there is no [[binding]] for application `billing` and environment `prod`",
    );
}

#[test]
fn what_is_said_of_the_host_is_checked_as_well() {
    let allowed = "allowed path must look like `meta-data/ami-id`, `user-data` or \
        `meta-data/placement/**`";
    for path in ["meta-data/*/x", "/latest/user-data", "meta-data/../x", ""] {
        let lines = format!("[host]\nallow = [\"{path}\"]\n");
        check_more(&lines, &format!(":12:1: {allowed}: `{path}`"));
    }
    check_more("[host]\nlocal_ipv4 = \"::1\"\n", ":12:1: `::1` is no IPv4 address");
    check_more("[host]\naccount = \"1\"\n", ":12:11: account id must be twelve digits: `1`");
}

#[test]
fn what_is_said_of_the_host_is_one_line_with_something_in_it() {
    let keys = [
        "instance_id",
        "instance_type",
        "ami_id",
        "architecture",
        "availability_zone",
        "availability_zone_id",
        "hostname",
        "mac",
    ];
    let wrong = "what is said of the host must be one line with something in it; without the key \
                 the host is asked";
    for key in keys {
        for value in ["", "  ", "a\\nb", "a\\r", "\\u0000"] {
            let lines = format!("[host]\n{key} = \"{value}\"\n");
            check_more(&lines, &format!(":12:{}: {wrong}", key.len() + 4));
        }
    }
    check_good(&format!("{GOOD}[host]\nhostname = \"a b.example\"\n"), &json!([orders()]));
}

#[test]
fn a_redirect_leads_to_a_port_that_nobody_without_privilege_can_take() {
    let wrong = |port: u16| {
        format!(
            ":12:21: the redirect's port must be 1 to 1023: anybody may listen on `{port}` while \
             the agent is down"
        )
    };
    for port in [1024, 4711, u16::MAX] {
        check_more(&format!("[metadata]\nredirect = {{ port = {port} }}\n"), &wrong(port));
    }
    check_good(&format!("{GOOD}[metadata]\nredirect = {{ port = 1023 }}\n"), &json!([orders()]));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_what_the_system_said() {
    check_path("/nonexistent/agent.toml", "cannot be read: No such file or directory (os error 2)");
    check_path("/", "cannot be read: Is a directory (os error 21)");
}

#[test]
fn a_file_without_an_end_is_refused_and_not_read_for_ever() {
    check_path("/dev/zero", "the file is longer than 4194304 bytes");
}

#[track_caller]
fn check_path(path: &str, says: &str) {
    let agent = Invocation::new(env!("CARGO_BIN_EXE_rolecall-agent"));
    let finished = agent.args(["--config", path, "check"]).run(LIMIT).unwrap();
    let says = format!("rolecall-agent: {path}: {says}\n");
    assert_eq!((finished.stderr.as_str(), finished.code), (says.as_str(), Some(2)));
}

#[test]
fn an_agent_with_a_broken_file_does_not_start() {
    let broken = GOOD.replace("eu-central-1", "Frankfurt");
    for arguments in [&[][..], &["run"]] {
        let finished = read(&broken, arguments);
        assert_eq!(finished.code, Some(2));
        assert!(finished.stderr.contains("/dev/stdin:1:10: region"), "{}", finished.stderr);
    }
}

/// What `check` answers about a file that is right.
#[track_caller]
fn check_good(text: &str, bindings: &Value) {
    let finished = read(text, &["check", "-o", "json"]).success().unwrap();
    assert_eq!(finished.stderr, "");
    let answer: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(answer["file"], "right");
    assert_eq!(&answer["bindings"], bindings);
    assert!(answer["cgroups"].is_boolean(), "{answer}");
}

/// The binding of the good file, told back.
fn orders() -> Value {
    json!({
        "application": "orders",
        "environment": "prod",
        "role": "arn:aws:iam::222222222222:role/orders",
        "switch": "on",
        "imdsv1": false,
    })
}

#[test]
fn a_good_file_is_told_back_as_it_was_understood() {
    let orders = orders();
    check_good(GOOD, &json!([orders]));
    let billing = "[[binding]]
        application = \"billing\"
        environment = \"prod\"
        role = \"arn:aws:iam::333333333333:role/path/billing\"
        source = \"assume-role\"
        external_id = \"abc\"
        match = { unit = \"billing.service\", cgroup = \"/system.slice/**\" }
        tags = { team = \"money\" }
        imdsv1 = true
        switch = \"off\"
        duration_minutes = 15
        [metadata]
        redirect = { port = 911, on_stop = \"remove\" }
        [host]
        metadata = \"http://169.254.169.254\"
        allow = [\"user-data\", \"meta-data/iam/**\"]\n";
    let told = json!({
        "application": "billing",
        "environment": "prod",
        "role": "arn:aws:iam::333333333333:role/path/billing",
        "switch": "off",
        "imdsv1": true,
    });
    check_good(&format!("{GOOD}{billing}"), &json!([orders, told]));
    check_good("region = \"eu-central-1\"\n", &json!([]));
}

#[test]
fn for_people_the_same_is_text() {
    let finished = read(GOOD, &["check"]).success().unwrap();
    assert!(finished.stdout.contains("role: arn:aws:iam::222222222222:role/orders\n"));
    assert!(finished.stdout.contains("file: right\n"), "{}", finished.stdout);
}

/// A file that names a server, with more lines from line 5 on.
#[track_caller]
fn check_joined(lines: &str, says: &str) {
    let joined =
        "region = \"eu-central-1\"\n\n[server]\naddresses = [\"https://one.example:8443\"]\n";
    check_text(&format!("{joined}{lines}"), says);
}

#[test]
fn what_a_server_says_cannot_be_said_in_the_file_as_well() {
    check_joined(
        GOOD.split_once("\n\n").unwrap().1,
        ":5:1: [[binding]] cannot stand beside [server]: bindings come from the server; propose it there \
         with `rolecall bind propose`",
    );
    check_joined(
        "[issuer]\nurl = \"https://issuer.example.com\"\n",
        ":6:7: [issuer] cannot stand beside [server]: the server signs tokens, and no key of an issuer is \
         on a host; remove one of the two",
    );
}

#[test]
fn a_server_must_have_an_address_that_is_one() {
    check_joined("address = \"x\"\n", ":5:1: unknown field `address`, expected `addresses`");
    let server =
        |addresses: &str| format!("region = \"eu-central-1\"\n[server]\naddresses = {addresses}\n");
    check_text(&server("[]"), ":3:13: `addresses` must name at least one address");
    check_text(
        &server("[\"http://one.example\"]"),
        ":3:13: a server's address looks like `https://rolecall.example.com:8443`, not like \
         `http://one.example`",
    );
}
