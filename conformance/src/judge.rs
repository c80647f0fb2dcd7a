use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use crate::{AnswerSeen, Expected, Pattern, Source, Status, Step};

/// What steps captured, by name. Printed without values: tokens are among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Captures(BTreeMap<String, String>);

impl Captures {
    /// Adds a value, in place of an earlier one of that name.
    pub fn insert(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Puts values in the place of `${name}`. A name that was not captured is an error.
    pub fn fill(&self, text: &str) -> Result<String, Mismatch> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            let missing = || Mismatch::new("case", format!("`{name}` is captured"), "it was not");
            filled.push_str(before);
            filled.push_str(self.get(name).ok_or_else(missing)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

impl fmt::Debug for Captures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What is wrong with an answer. It never holds what could be a secret: of bodies and of members
/// of JSON objects only the shape is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Which part: `status`, `header server`, `body`, `json Token`.
    pub part: String,
    /// What was expected of it.
    pub expected: String,
    /// What came.
    pub seen: String,
}

impl Mismatch {
    pub(crate) fn new(
        part: impl Into<String>,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Self {
        Self { part: part.into(), expected: expected.into(), seen: seen.into() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, expected, seen } = self;
        write!(f, "{part}: expected {expected}, seen {seen}")
    }
}

/// Holds an answer against a step. Returns the captures with the step's own added, or what is
/// wrong with regard to the expected answer that comes closest.
pub fn judge(
    step: &Step,
    answer: &AnswerSeen,
    captures: &Captures,
) -> Result<Captures, Vec<Mismatch>> {
    let mut closest: Option<Vec<Mismatch>> = None;
    for expected in &step.expect {
        let wrong = mismatches(expected, answer, captures);
        if wrong.is_empty() {
            return capture(expected, answer, captures);
        }
        // An expected answer of the right status is closer than one with fewer mismatches.
        let distance = |wrong: &[Mismatch]| (wrong.iter().any(|m| m.part == "status"), wrong.len());
        if closest.as_deref().is_none_or(|closest| distance(&wrong) < distance(closest)) {
            closest = Some(wrong);
        }
    }
    Err(closest.unwrap_or_else(|| vec![Mismatch::new("case", "an expected answer", "none")]))
}

fn mismatches(expected: &Expected, answer: &AnswerSeen, captures: &Captures) -> Vec<Mismatch> {
    let mut wrong = Vec::new();
    if !status_holds(&expected.status, answer.status) {
        let status = match &expected.status {
            Status::One(status) => status.to_string(),
            Status::AnyOf(any) => any.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
        };
        wrong.push(Mismatch::new("status", status, answer.status.to_string()));
    }
    for (name, pattern) in &expected.headers {
        let value = answer.header(&name.to_ascii_lowercase());
        let part = || format!("header {}", name.to_ascii_lowercase());
        // The session token's life may be told, the rest of what is like a token not.
        let seen = || value.map_or("none".to_owned(), |value| format!("`{value}`"));
        check(pattern, value, captures, part, seen, &mut wrong);
    }
    judge_body(expected, answer, captures, &mut wrong);
    wrong
}

fn judge_body(
    expected: &Expected,
    answer: &AnswerSeen,
    captures: &Captures,
    wrong: &mut Vec<Mismatch>,
) {
    let body = String::from_utf8_lossy(&answer.body);
    let part = || "body".to_owned();
    for pattern in &expected.body.text {
        check(pattern, Some(&body), captures, part, || shape(&answer.body), wrong);
    }
    for (lines, among) in [(&expected.body.lines, true), (&expected.body.no_lines, false)] {
        for line in lines {
            match captures.fill(line) {
                Ok(filled) if body.lines().any(|other| other == filled) == among => {}
                Ok(_) => {
                    let verb = if among { "has" } else { "has not" };
                    let expected = format!("that it {verb} the line `{line}`");
                    wrong.push(Mismatch::new("body", expected, shape(&answer.body)));
                }
                Err(missing) => wrong.push(missing),
            }
        }
    }
    let Some(members) = &expected.body.json else { return };
    let Ok(Value::Object(object)) = serde_json::from_slice(&answer.body) else {
        wrong.push(Mismatch::new("body", "a JSON object", shape(&answer.body)));
        return;
    };
    for (name, pattern) in members {
        let (text, kind) = match object.get(name) {
            None => (None, "none".to_owned()),
            Some(Value::String(text)) => {
                (Some(text.clone()), format!("a text of {} bytes", text.len()))
            }
            Some(Value::Number(number)) => (Some(number.to_string()), "a number".to_owned()),
            Some(Value::Null) => (Some(String::new()), "null".to_owned()),
            Some(_) => (Some(String::new()), "something that is no text".to_owned()),
        };
        check(
            pattern,
            text.as_deref(),
            captures,
            || format!("json {name}"),
            || kind.clone(),
            wrong,
        );
    }
}

fn capture(
    expected: &Expected,
    answer: &AnswerSeen,
    captures: &Captures,
) -> Result<Captures, Vec<Mismatch>> {
    let mut captures = captures.clone();
    for (name, source) in &expected.capture {
        let value = match source {
            Source::Body => String::from_utf8(answer.body.clone()).ok(),
            Source::BodyLength => Some(answer.body.len().to_string()),
            Source::Header(header) => {
                answer.header(&header.to_ascii_lowercase()).map(str::to_owned)
            }
            Source::Json(member) => serde_json::from_slice::<Value>(&answer.body)
                .ok()
                .and_then(|object| Some(object.get(member)?.as_str()?.to_owned())),
        };
        // It goes into requests, where a line break would be a new header.
        match value.filter(|value| !value.contains(['\r', '\n'])) {
            Some(value) => captures.insert(name, value),
            None => {
                let expected = format!("one line to capture as `{name}`");
                return Err(vec![Mismatch::new("body", expected, shape(&answer.body))]);
            }
        }
    }
    Ok(captures)
}

fn status_holds(expected: &Status, status: u16) -> bool {
    match expected {
        Status::One(one) => *one == status,
        Status::AnyOf(any) => any.contains(&status),
    }
}

fn check(
    pattern: &Pattern,
    text: Option<&str>,
    captures: &Captures,
    part: impl Fn() -> String,
    seen: impl Fn() -> String,
    wrong: &mut Vec<Mismatch>,
) {
    match holds(pattern, text, captures) {
        Ok(true) => {}
        Ok(false) => wrong.push(Mismatch::new(part(), words(pattern), seen())),
        Err(missing) => wrong.push(missing),
    }
}

fn holds(pattern: &Pattern, text: Option<&str>, captures: &Captures) -> Result<bool, Mismatch> {
    if *pattern == Pattern::Absent {
        return Ok(text.is_none());
    }
    let Some(text) = text else { return Ok(false) };
    let lower = |text: &str| text.to_ascii_lowercase();
    Ok(match pattern {
        Pattern::Absent => false,
        Pattern::Present => true,
        Pattern::Empty => text.is_empty(),
        Pattern::NotEmpty => !text.is_empty(),
        Pattern::NoTrailingNewline => !text.ends_with(['\n', '\r']),
        Pattern::Equals(other) => text == captures.fill(other)?,
        Pattern::Differs(other) => text != captures.fill(other)?,
        Pattern::Starts(start) => lower(text).starts_with(&lower(start)),
        Pattern::Contains(part) => lower(text).contains(&lower(part)),
        Pattern::Between(low, high) => {
            text.parse().is_ok_and(|number: i64| (*low..=*high).contains(&number))
        }
        Pattern::Lists(expected) => {
            let sorted = |items: Vec<String>| {
                let mut items = items;
                items.sort();
                items
            };
            sorted(text.split(',').map(|item| lower(item.trim())).collect())
                == sorted(expected.iter().map(|item| lower(item)).collect())
        }
        Pattern::Is(kind) => kind.holds(text),
    })
}

/// The pattern in words, with `${names}` as they stand in the case.
fn words(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Present => "that it is there".to_owned(),
        Pattern::Absent => "that it is not there".to_owned(),
        Pattern::Empty => "that it is empty".to_owned(),
        Pattern::NotEmpty => "that it is not empty".to_owned(),
        Pattern::NoTrailingNewline => "no line break at the end".to_owned(),
        Pattern::Equals(text) => format!("`{text}`"),
        Pattern::Differs(text) => format!("anything but `{text}`"),
        Pattern::Starts(text) => format!("a text that starts with `{text}`"),
        Pattern::Contains(text) => format!("a text with `{text}` in it"),
        Pattern::Between(low, high) => format!("a number from {low} to {high}"),
        Pattern::Lists(items) => format!("exactly {}", items.join(" and ")),
        Pattern::Is(kind) => format!("a text of the kind {kind:?}"),
    }
}

/// What may be told of a body that could be a secret.
fn shape(body: &[u8]) -> String {
    if body.is_empty() {
        return "nothing".to_owned();
    }
    let end = if body.ends_with(b"\n") { " with a line break at the end" } else { "" };
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(object)) => {
            let names: Vec<&str> = object.keys().map(String::as_str).collect();
            format!("an object of {}{end}", names.join(", "))
        }
        _ => {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            format!("{} bytes in {lines} lines{end}", body.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> AnswerSeen {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        AnswerSeen { status, headers: headers.iter().map(own).collect(), body: body.into() }
    }

    fn captures() -> Captures {
        let mut captures = Captures::default();
        captures.insert("role", "orders");
        captures
    }

    /// `expect` as it stands in a file; `wrong` names the parts that do not hold.
    #[track_caller]
    fn check_judged(expect: &str, answer: &AnswerSeen, wrong: &[&str]) -> Vec<Mismatch> {
        let step = format!(r#"{{"method":"GET","target":"/","expect":{expect}}}"#);
        let step: Step = serde_json::from_str(&step).unwrap();
        let mismatches = judge(&step, answer, &captures()).err().unwrap_or_default();
        let parts: Vec<&str> = mismatches.iter().map(|mismatch| mismatch.part.as_str()).collect();
        assert_eq!(parts, wrong, "{mismatches:?}");
        mismatches
    }

    #[test]
    fn a_wrong_status_is_caught() {
        check_judged(r#"[{"status":200}]"#, &answer(200, &[], ""), &[]);
        check_judged(r#"[{"status":200}]"#, &answer(404, &[], ""), &["status"]);
        check_judged(r#"[{"status":[403,404]}]"#, &answer(404, &[], ""), &[]);
        check_judged(r#"[{"status":[403,404]}]"#, &answer(401, &[], ""), &["status"]);
    }

    #[test]
    fn a_wrong_or_missing_header_is_caught() {
        let expect =
            r#"[{"status":200,"headers":{"Server":{"contains":"ec2"},"Location":"absent"}}]"#;
        check_judged(expect, &answer(200, &[("server", "EC2ws")], ""), &[]);
        check_judged(expect, &answer(200, &[("server", "nginx")], ""), &["header server"]);
        check_judged(expect, &answer(200, &[], ""), &["header server"]);
        let redirect = answer(200, &[("server", "EC2ws"), ("location", "/")], "");
        check_judged(expect, &redirect, &["header location"]);
    }

    #[test]
    fn a_list_is_compared_in_any_order_and_completely() {
        let expect = r#"[{"status":405,"headers":{"allow":{"lists":["OPTIONS","PUT"]}}}]"#;
        check_judged(expect, &answer(405, &[("allow", "PUT,options")], ""), &[]);
        check_judged(expect, &answer(405, &[("allow", "PUT")], ""), &["header allow"]);
        check_judged(
            expect,
            &answer(405, &[("allow", "GET, OPTIONS, PUT")], ""),
            &["header allow"],
        );
    }

    #[test]
    fn a_number_is_compared_as_a_number() {
        let expect = r#"[{"status":200,"headers":{"ttl":{"between":[1,60]}}}]"#;
        check_judged(expect, &answer(200, &[("ttl", "60")], ""), &[]);
        for wrong in ["0", "61", "abc", ""] {
            check_judged(expect, &answer(200, &[("ttl", wrong)], ""), &["header ttl"]);
        }
    }

    #[test]
    fn a_wrong_body_is_caught() {
        let expect =
            r#"[{"status":200,"body":{"text":[{"equals":"${role}"},"no-trailing-newline"]}}]"#;
        check_judged(expect, &answer(200, &[], "orders"), &[]);
        check_judged(expect, &answer(200, &[], "billing"), &["body"]);
        check_judged(expect, &answer(200, &[], "orders\n"), &["body", "body"]);
        check_judged(
            r#"[{"status":200,"body":{"text":["not-empty"]}}]"#,
            &answer(200, &[], ""),
            &["body"],
        );
        check_judged(
            r#"[{"status":405,"body":{"text":["empty"]}}]"#,
            &answer(405, &[], "x"),
            &["body"],
        );
        check_judged(
            r#"[{"status":200,"body":{"text":[{"is":"region"}]}}]"#,
            &answer(200, &[], "x"),
            &["body"],
        );
    }

    #[test]
    fn lines_that_must_or_must_not_be_there_are_looked_for_whole() {
        let expect = r#"[{"status":200,"body":{"lines":["latest"],"no-lines":["iam/"]}}]"#;
        check_judged(expect, &answer(200, &[], "1.0\nlatest"), &[]);
        check_judged(expect, &answer(200, &[], "1.0\nlatest2"), &["body"]);
        check_judged(expect, &answer(200, &[], "latest\niam/"), &["body"]);
    }

    #[test]
    fn wrong_members_of_an_object_are_caught() {
        let expect = r#"[{"status":200,"body":{"json":{"Code":{"equals":"Success"},"At":{"is":"time"},"No":"absent"}}}]"#;
        let right = r#"{"Code":"Success","At":"2026-01-01T00:00:00Z"}"#;
        check_judged(expect, &answer(200, &[], right), &[]);
        let wrong = r#"{"Code":"success","At":"2026-01-01T00:00:00.5Z","No":1}"#;
        check_judged(expect, &answer(200, &[], wrong), &["json At", "json Code", "json No"]);
        check_judged(expect, &answer(200, &[], "{}"), &["json At", "json Code"]);
        check_judged(expect, &answer(200, &[], "[]"), &["body"]);
        check_judged(expect, &answer(200, &[], "Success"), &["body"]);
    }

    #[test]
    fn of_several_expected_answers_one_is_enough_and_the_closest_is_reported() {
        let expect = r#"[{"status":404},{"status":200,"body":{"text":[{"is":"ipv4"}]}}]"#;
        check_judged(expect, &answer(404, &[], ""), &[]);
        check_judged(expect, &answer(200, &[], "10.0.0.1"), &[]);
        check_judged(expect, &answer(200, &[], "x"), &["body"]);
        check_judged(expect, &answer(500, &[], "x"), &["status"]);
    }

    #[test]
    fn what_was_captured_is_there_for_later_steps() {
        let step = r#"{"method":"GET","target":"/","expect":[{"status":200,"capture":
            {"all":"body","size":"body-length","server":{"header":"Server"}}}]}"#;
        let step: Step = serde_json::from_str(step).unwrap();
        let seen = answer(200, &[("server", "EC2ws")], "abc");
        let captures = judge(&step, &seen, &captures()).unwrap();
        assert_eq!(
            captures.fill("${role}/${all}/${size}/${server}").unwrap(),
            "orders/abc/3/EC2ws"
        );
        assert!(captures.fill("${nothing}").is_err());
        let twisted = answer(200, &[("server", "EC2ws")], "a\r\nX: y");
        assert!(judge(&step, &twisted, &captures).is_err());
    }

    #[test]
    fn a_report_of_a_mismatch_tells_no_secret() {
        let expect =
            r#"[{"status":200,"body":{"text":[{"equals":"x"}],"json":{"Token":"empty"}}}]"#;
        let seen = answer(200, &[], r#"{"Token":"hunter2"}"#);
        let mismatches = check_judged(expect, &seen, &["body", "json Token"]);
        let printed = format!("{mismatches:?} {:?}", captures());
        assert!(!printed.contains("hunter2") && !printed.contains("orders"), "{printed}");
        assert!(printed.contains("a text of 7 bytes"), "{printed}");
        assert!(Kind::Word.holds("hunter2"));
    }
}
