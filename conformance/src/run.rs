use std::collections::BTreeSet;

use crate::{
    AnswerSeen, Captures, Case, CaseReport, Door, Mismatch, Outcome, Report, Requirement, Step,
    judge,
};

/// What the cases are run against.
#[derive(Clone, Debug)]
pub struct Targets {
    instance: Place,
    container: Option<Place>,
    pod_identity: Option<Place>,
    captures: Captures,
    has: BTreeSet<Requirement>,
}

#[derive(Clone, Debug)]
struct Place {
    authority: String,
    path: String,
}

/// The text is no URL that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("URL must look like `http://169.254.169.254` or `http://127.0.0.1:1338/path`: `{0}`")]
pub struct InvalidUrl(String);

impl Targets {
    /// An instance metadata service whose workload has a role, whose tokens are required and whose
    /// machine is shared. A path in the URL is ignored.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let has = [
            Requirement::Role,
            Requirement::TokensRequired,
            Requirement::SharedHost,
            Requirement::Http,
        ];
        Ok(Self {
            instance: Place::parse(url)?,
            container: None,
            pod_identity: None,
            captures: Captures::default(),
            has: has.into(),
        })
    }

    /// Adds an ECS container endpoint: the full URL of its credentials, and the authorization where
    /// there is one.
    pub fn with_container(mut self, url: &str, token: Option<&str>) -> Result<Self, InvalidUrl> {
        let place = Place::parse(url)?;
        self.captures.insert("container_path", place.path.as_str());
        self.container = Some(place);
        self.has.insert(Requirement::Container);
        if let Some(token) = token {
            self.captures.insert("container_token", token);
            self.has.insert(Requirement::ContainerToken);
        }
        Ok(self)
    }

    /// Adds a Pod Identity endpoint: the full URL of its credentials, and the authorization.
    pub fn with_pod_identity(mut self, url: &str, token: &str) -> Result<Self, InvalidUrl> {
        let place = Place::parse(url)?;
        self.captures.insert("pod_path", place.path.as_str());
        self.captures.insert("pod_token", token);
        self.pod_identity = Some(place);
        self.has.insert(Requirement::PodIdentity);
        Ok(self)
    }

    /// Says that something is so.
    pub fn with(mut self, requirement: Requirement) -> Self {
        self.has.insert(requirement);
        self
    }

    /// Says that something is not so.
    pub fn without(mut self, requirement: Requirement) -> Self {
        self.has.remove(&requirement);
        self
    }

    fn place(&self, door: Door) -> Option<&Place> {
        match door {
            Door::Instance => Some(&self.instance),
            Door::Container => self.container.as_ref(),
            Door::PodIdentity => self.pod_identity.as_ref(),
        }
    }

    /// Why a case says nothing here.
    fn skips(&self, case: &Case) -> Option<String> {
        let lacks: Vec<&str> = case
            .requires
            .iter()
            .filter(|requirement| !self.has.contains(requirement))
            .map(|requirement| requirement.as_str())
            .collect();
        if !lacks.is_empty() {
            return Some(format!("requires {}", lacks.join(", ")));
        }
        let nowhere = self.place(case.door).is_none();
        nowhere.then(|| "no URL was given for this service".to_owned())
    }
}

impl Place {
    fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = || InvalidUrl(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(invalid)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or_else(invalid)?;
        let legal = url.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.contains('@') || !legal {
            return Err(invalid());
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { authority: authority.to_owned(), path: path.to_owned() })
    }
}

/// One request to send, on a connection of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Whom to connect to: host, and port where it is not 80.
    pub authority: String,
    /// Which service is meant.
    pub door: Door,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// Every header but `Connection`, `Host` first.
    pub headers: Vec<(String, String)>,
    /// Whether the request is HTTP/1.0.
    pub http_1_0: bool,
}

impl Exchange {
    /// The request as bytes. Nothing is escaped or checked: malformed targets are sent as they are.
    pub fn bytes(&self) -> Vec<u8> {
        let version = if self.http_1_0 { "1.0" } else { "1.1" };
        let mut text = format!("{} {} HTTP/{version}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("Connection: close\r\n\r\n");
        text.into_bytes()
    }
}

/// Cases on their way: says what to send next and takes what came back.
#[derive(Debug)]
pub struct Run<'a> {
    cases: &'a [Case],
    targets: Targets,
    captures: Captures,
    step: usize,
    report: Report,
}

impl<'a> Run<'a> {
    /// Begins with the first case.
    pub fn new(cases: &'a [Case], targets: Targets) -> Self {
        let captures = targets.captures.clone();
        Self { cases, targets, captures, step: 0, report: Report::default() }
    }

    /// The next request. `None` when every case has its outcome. The answer must be handed in by
    /// [`Run::answered`] or [`Run::failed`] before the next one.
    pub fn next_exchange(&mut self) -> Option<Exchange> {
        loop {
            let case = self.case()?;
            if let Some(why) = self.targets.skips(case) {
                self.finish(Outcome::Skipped { why });
                continue;
            }
            match case.steps.get(self.step) {
                None => self.finish(Outcome::Passed),
                Some(step) => match self.exchange(case.door, step) {
                    Ok(exchange) => return Some(exchange),
                    Err(mismatch) => self.fail(vec![mismatch]),
                },
            }
        }
    }

    /// Takes everything that came on the connection, up to its end.
    pub fn answered(&mut self, bytes: &[u8]) {
        let head = self.current().is_some_and(|step| step.method == "HEAD");
        match AnswerSeen::parse(bytes, head) {
            Ok(answer) => self.judge(&answer),
            Err(why) => self.failed(&why.to_string()),
        }
    }

    /// Takes an answer that was parsed elsewhere.
    pub fn judge(&mut self, answer: &AnswerSeen) {
        let Some(step) = self.current() else { return };
        match judge(step, answer, &self.captures) {
            Ok(captures) => {
                self.captures = captures;
                self.step += 1;
            }
            Err(mismatches) => self.fail(mismatches),
        }
    }

    /// Says that no answer came, and why.
    pub fn failed(&mut self, why: &str) {
        self.fail(vec![Mismatch::new("connection", "an answer", why)]);
    }

    /// How it went so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn case(&self) -> Option<&'a Case> {
        self.cases.get(self.report.cases.len())
    }

    fn current(&self) -> Option<&'a Step> {
        self.case()?.steps.get(self.step)
    }

    fn exchange(&self, door: Door, step: &Step) -> Result<Exchange, Mismatch> {
        let authority = self.targets.place(door).map(|place| place.authority.clone());
        let authority = authority.unwrap_or_default();
        let mut captures = self.captures.clone();
        captures.insert("host", authority.as_str());
        let mut headers = Vec::new();
        if let Some(host) = step.host.as_deref().or((!step.http_1_0).then_some("${host}")) {
            headers.push(("Host".to_owned(), captures.fill(host)?));
        }
        for (name, value) in &step.headers {
            headers.push((name.clone(), captures.fill(value)?));
        }
        Ok(Exchange {
            authority,
            door,
            method: step.method.clone(),
            target: captures.fill(&step.target)?,
            headers,
            http_1_0: step.http_1_0,
        })
    }

    fn fail(&mut self, mismatches: Vec<Mismatch>) {
        let step = self.current().map(|step| format!("{} {}", step.method, step.target));
        self.finish(Outcome::Failed { step: step.unwrap_or_default(), mismatches });
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(case) = self.case() {
            self.report.cases.push(CaseReport {
                name: case.name.clone(),
                source: case.source.clone(),
                severity: case.severity,
                door: case.door,
                outcome,
            });
        }
        self.step = 0;
        self.captures = self.targets.captures.clone();
    }
}
