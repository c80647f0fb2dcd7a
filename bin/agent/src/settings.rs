//! What the agent works with: the file's sections turned into the words of the core.
//!
//! A [`Settings`] is immutable. A reload makes a new one; whoever holds the old one finishes with it.

use std::{path::Path, sync::Arc, time::Duration};

use credentials::{Binding, BindingFault, Bindings, Source, Switch, policy::FETCH_MAX};
use issuer::IssuerUrl;
use jiff::Timestamp;
use metadata::{AllowList, Facts};
use toml::Spanned;
use workload::{Conditions, InvalidRule, Kind, Rule, Rules, Workload};

use crate::{
    config::{
        self, BindingSection, CallsSection, ConditionsSection, Config, ConfigError, HostSection,
        Place, SourceKind, SwitchPosition,
    },
    control::Obeyed,
};

/// What workloads may read of the host without its being named: what an SDK or an agent of the
/// cloud's own needs to know where it runs. Nothing of it is a secret or proves an identity.
pub const ALLOWED: [&str; 10] = [
    "meta-data/ami-id",
    "meta-data/hostname",
    "meta-data/instance-id",
    "meta-data/instance-type",
    "meta-data/local-hostname",
    "meta-data/local-ipv4",
    "meta-data/mac",
    "meta-data/placement/**",
    "meta-data/services/**",
    "dynamic/instance-identity/document",
];

/// The checked settings.
#[derive(Debug)]
pub struct Settings {
    /// Counts the reloads: a verdict holds for the settings it was made with.
    pub generation: u64,
    /// Who is who.
    pub rules: Rules,
    /// What the rule with the same index binds to.
    pub by_rule: Vec<Arc<BoundRole>>,
    /// What the instance says of itself.
    pub facts: Facts,
    /// What of the host workloads may read.
    pub allow: AllowList,
    /// Who is behind the development listeners; none where nothing is bound to them.
    pub development: Option<Development>,
    /// What the server orders; none in standalone mode, and before there are any orders.
    pub standing: Option<Standing>,
    /// Whether a rule looks at labels, so that containers must be asked for.
    pub needs_labels: bool,
    /// Whether a rule may look at addresses.
    pub trust_addresses: bool,
    /// The file as it was written, for what only a restart can change.
    pub config: Arc<Config>,
    /// Who is behind the development listeners, by the file alone.
    vouched: Option<Workload>,
}

/// The orders in force, and the time at which they were looked at. Positions that end by themselves
/// end with the next settings, so that all who hold these decide alike.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The orders.
    pub orders: Arc<Obeyed>,
    /// When they were looked at.
    pub at: Timestamp,
}

/// What a running agent was started with. A binding that needs more has to wait for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whether it has an issuer to sign with.
    pub issuer: bool,
    /// Whether it has a container engine to ask for labels.
    pub docker: bool,
}

/// A binding in force.
#[derive(Debug, PartialEq, Eq)]
pub struct BoundRole {
    /// The binding.
    pub binding: Binding,
    /// Its role's ARN as text.
    pub role_text: String,
}

impl BoundRole {
    /// A binding in force.
    pub fn new(binding: Binding) -> Self {
        let role_text = binding.role.to_string();
        Self { binding, role_text }
    }
}

/// The workload behind the development listeners.
#[derive(Clone, Debug)]
pub struct Development {
    /// Who it is.
    pub workload: Workload,
    /// What it is bound to.
    pub bound: Arc<BoundRole>,
}

impl Settings {
    /// Reads a file and checks it.
    ///
    /// # Errors
    /// With the line of the first thing that is wrong.
    pub fn read(path: &Path, generation: u64) -> Result<Self, ConfigError> {
        let (file, text) = config::read(path)?;
        Self::parse(&file, &text, generation)
    }

    /// Reads a file for an agent that runs already.
    ///
    /// # Errors
    /// As [`Settings::read`], and for a binding that needs what the agent was not started with.
    pub fn reread(path: &Path, generation: u64, started: Started) -> Result<Self, ConfigError> {
        let (file, text) = config::read(path)?;
        let settings = Self::parse(&file, &text, generation)?;
        check_started(&settings.config, started, Place { file: &file, text: &text })?;
        Ok(settings)
    }

    /// Checks the text of the file called `file`.
    ///
    /// # Errors
    /// With the line of the first thing that is wrong.
    pub fn parse(file: &str, text: &str, generation: u64) -> Result<Self, ConfigError> {
        let place = Place { file, text };
        let config = Config::parse(file, text)?;
        let development = development_workload(&config, place)?;
        let bindings = bindings(&config, place)?;
        let (mut rules, mut by_rule, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (section, binding) in config.bindings.iter().zip(bindings.iter()) {
            let bound = Arc::new(BoundRole::new(binding.clone()));
            let rule = rule(section, &config, development.as_ref());
            if let Some(rule) = rule.map_err(|flaw| flaw.at(place, section.span().start))? {
                rules.push(rule);
                by_rule.push(Arc::clone(&bound));
            }
            all.push(bound);
        }
        check_server(&config, place)?;
        check_sources(&config, place)?;
        check_issuer(&config, place)?;
        check_numbers(&config, place)?;
        Ok(Self {
            generation,
            needs_labels: config.bindings.iter().any(|b| !b.get_ref().conditions.labels.is_empty()),
            trust_addresses: config.metadata.trust_addresses,
            rules: Rules::new(rules),
            by_rule,
            facts: facts(&config.host, &config, place)?,
            allow: allow(&config.host, place)?,
            development: match config.server {
                // Its binding comes with the orders.
                Some(_) => None,
                None => resolve(development.clone(), &all, place)?,
            },
            standing: None,
            vouched: development,
            config: Arc::new(config),
        })
    }

    /// The same file with orders of the server, as they stand at a time.
    #[must_use]
    pub fn obeying(&self, orders: &Arc<Obeyed>, at: Timestamp, generation: u64) -> Self {
        let bound = orders.bound.iter();
        let development = self.vouched.as_ref().and_then(|workload| {
            let bound = bound.clone().find(|bound| is_bound(&bound.binding, workload))?;
            Some(Development { workload: workload.clone(), bound: Arc::clone(bound) })
        });
        Self {
            generation,
            rules: Rules::new(orders.rules.clone()),
            by_rule: bound.cloned().collect(),
            facts: self.facts.clone(),
            allow: self.allow.clone(),
            development,
            needs_labels: orders.needs_labels,
            trust_addresses: self.trust_addresses,
            standing: Some(Standing { orders: Arc::clone(orders), at }),
            config: Arc::clone(&self.config),
            vouched: self.vouched.clone(),
        }
    }

    /// How many bindings are in force.
    pub fn bindings(&self) -> usize {
        let ordered = self.standing.as_ref().map(|standing| standing.orders.bound.len());
        ordered.unwrap_or(self.config.bindings.len())
    }

    /// Where the credentials of a workload come from that is bound so.
    pub fn switch_of(&self, bound: &BoundRole, workload: &Workload) -> Switch {
        match &self.standing {
            Some(Standing { orders, at }) => orders.decide(workload, *at),
            None => bound.binding.switch,
        }
    }

    /// The binding of a workload, whatever its switch says.
    pub fn bound_to(&self, workload: &Workload) -> Option<&Arc<BoundRole>> {
        self.bound().find(|bound| is_bound(&bound.binding, workload))
    }

    /// All bindings that a rule leads to.
    pub fn bound(&self) -> impl Iterator<Item = &Arc<BoundRole>> {
        self.by_rule.iter().chain(self.development.as_ref().map(|development| &development.bound))
    }
}

fn bindings(config: &Config, place: Place<'_>) -> Result<Bindings, ConfigError> {
    let starts: Vec<usize> = config.bindings.iter().map(|section| section.span().start).collect();
    let mut list = Vec::with_capacity(starts.len());
    for section in &config.bindings {
        list.push(binding(section).map_err(|flaw| flaw.at(place, section.span().start))?);
    }
    Bindings::new(list).map_err(|error| {
        let start = starts.get(error.index).copied().unwrap_or_default();
        Flaw::new(key_of(&error.fault), &error.fault).at(place, start)
    })
}

/// What is wrong with a binding, and the key that says it; without one the whole of it is meant.
struct Flaw {
    key: &'static str,
    reason: String,
}

impl Flaw {
    fn new(key: &'static str, reason: &impl ToString) -> Self {
        Self { key, reason: reason.to_string() }
    }

    fn at(&self, place: Place<'_>, table: usize) -> ConfigError {
        place.key_of_table(table, self.key, &self.reason)
    }
}

fn key_of(fault: &BindingFault) -> &'static str {
    match fault {
        BindingFault::Duration(_) => "duration_minutes",
        BindingFault::Audience(_) => "audience",
        BindingFault::ExternalId(_) => "external_id",
        BindingFault::Tag(_) => "tags",
        BindingFault::Repeated { .. } => "",
    }
}

fn key_of_rule(error: &InvalidRule) -> &'static str {
    match error {
        InvalidRule::Pattern { kind, .. } => match kind {
            Kind::Label(_) => "labels",
            Kind::Unit => "unit",
            Kind::Netns => "netns",
            Kind::Cgroup => "cgroup",
            Kind::Address => "address",
        },
        InvalidRule::Address(_) => "address",
        InvalidRule::Label(_) | InvalidRule::Labels(_) => "labels",
        InvalidRule::Unconditional(..) => "",
    }
}

fn binding(section: &Spanned<BindingSection>) -> Result<Binding, Flaw> {
    let section = section.get_ref();
    let source = match (section.source, &section.audience, &section.external_id) {
        (SourceKind::WebIdentity, audience, None) => Source::WebIdentity {
            audience: audience.clone().unwrap_or_else(|| Binding::AUDIENCE_DEFAULT.to_owned()),
        },
        (SourceKind::AssumeRole, None, external_id) => {
            Source::AssumeRole { external_id: external_id.clone() }
        }
        (SourceKind::WebIdentity, _, Some(_)) => {
            let reason = "`external_id` belongs to `source = \"assume-role\"`";
            return Err(Flaw::new("external_id", &reason));
        }
        (SourceKind::AssumeRole, Some(_), _) => {
            let reason = "`audience` belongs to `source = \"web-identity\"`";
            return Err(Flaw::new("audience", &reason));
        }
    };
    let switch = match section.switch {
        SwitchPosition::On => Switch::On,
        SwitchPosition::Off => Switch::Off,
    };
    Ok(Binding {
        application: section.application.clone(),
        environment: section.environment.clone(),
        role: section.role.clone(),
        source,
        tags: section.tags.clone(),
        imds_v1: section.imdsv1,
        switch,
        duration: Duration::from_secs(section.duration_minutes.saturating_mul(60)),
    })
}

/// The rule of a binding. Only the development listener's binding may have none.
fn rule(
    section: &Spanned<BindingSection>,
    config: &Config,
    development: Option<&Workload>,
) -> Result<Option<Rule>, Flaw> {
    let section = section.get_ref();
    let wrong = |error: InvalidRule| Flaw::new(key_of_rule(&error), &error);
    let conditions = conditions(&section.conditions).map_err(wrong)?;
    if conditions.address.is_some() && !config.metadata.trust_addresses {
        let reason = "`address` decides only with `metadata.trust_addresses = true`: addresses \
                      can be forged and are reused";
        return Err(Flaw::new("address", &reason));
    }
    if !section.conditions.labels.is_empty() && config.docker.is_none() {
        let reason = "`labels` needs a [docker] section with the engine's `socket`: without it no \
                      label is ever known";
        return Err(Flaw::new("labels", &reason));
    }
    let develops = development.is_some_and(|workload| {
        workload.application == section.application && workload.environment == section.environment
    });
    if conditions.is_empty() && develops {
        return Ok(None);
    }
    let rule = Rule::new(section.application.clone(), section.environment.clone(), conditions);
    rule.map(Some).map_err(wrong)
}

fn conditions(section: &ConditionsSection) -> Result<Conditions, InvalidRule> {
    let mut conditions = Conditions::default();
    if let Some(pattern) = &section.netns {
        conditions = conditions.with_netns(pattern)?;
    }
    if let Some(pattern) = &section.cgroup {
        conditions = conditions.with_cgroup(pattern)?;
    }
    if let Some(pattern) = &section.unit {
        conditions = conditions.with_unit(pattern)?;
    }
    for (name, pattern) in &section.labels {
        conditions = conditions.with_label(name, pattern)?;
    }
    if let Some(network) = &section.address {
        conditions = conditions.with_address(network)?;
    }
    Ok(conditions)
}

fn development_workload(
    config: &Config,
    place: Place<'_>,
) -> Result<Option<Workload>, ConfigError> {
    let metadata = &config.metadata;
    let listens = [
        ("listen", &metadata.listen),
        ("listen_container", &metadata.listen_container),
        ("listen_pod_identity", &metadata.listen_pod_identity),
    ];
    for (key, addresses) in listens {
        if let Some(address) = addresses.iter().find(|address| !address.ip().is_loopback()) {
            let reason = format!("a development listener must be on loopback, not `{address}`");
            return Err(place.key(key, &reason));
        }
    }
    let used = listens.into_iter().find(|(_, addresses)| !addresses.is_empty());
    match (&metadata.workload, used) {
        (Some(text), _) => {
            let parsed = text.parse::<Workload>();
            parsed.map(Some).map_err(|error| place.key("workload", &error.to_string()))
        }
        (None, None) => Ok(None),
        (None, Some((key, _))) => Err(place.key(
            key,
            "a development listener needs `workload = \"application/environment/instance\"`: \
             whoever connects is that workload",
        )),
    }
}

fn resolve(
    workload: Option<Workload>,
    all: &[Arc<BoundRole>],
    place: Place<'_>,
) -> Result<Option<Development>, ConfigError> {
    let Some(workload) = workload else { return Ok(None) };
    let bound = all.iter().find(|bound| is_bound(&bound.binding, &workload));
    let missing = || {
        let (application, environment) = (&workload.application, &workload.environment);
        place.key(
            "workload",
            &format!("there is no [[binding]] for application `{application}` and environment `{environment}`"),
        )
    };
    let bound = Arc::clone(bound.ok_or_else(missing)?);
    Ok(Some(Development { workload, bound }))
}

/// Whether a binding is of the workload's application and environment.
fn is_bound(binding: &Binding, workload: &Workload) -> bool {
    binding.application == workload.application && binding.environment == workload.environment
}

/// With a server, what it says cannot be said here as well: which of the two would hold?
fn check_server(config: &Config, place: Place<'_>) -> Result<(), ConfigError> {
    if config.server.is_none() {
        return Ok(());
    }
    if let Some(section) = &config.issuer {
        let reason = "[issuer] cannot stand beside [server]: the server signs tokens, and no key of \
                      an issuer is on a host; remove one of the two";
        return Err(place.at(section.url.span().start, &reason));
    }
    config.bindings.first().map_or(Ok(()), |section| {
        let reason = "[[binding]] cannot stand beside [server]: bindings come from the server; \
                      propose it there with `rolecall bind propose`";
        Err(place.at(section.span().start, &reason))
    })
}

fn check_sources(config: &Config, place: Place<'_>) -> Result<(), ConfigError> {
    if config.issuer.is_some() {
        return Ok(());
    }
    let signed = config.bindings.iter().find(|b| b.get_ref().source == SourceKind::WebIdentity);
    signed.map_or(Ok(()), |section| {
        Err(place.at(
            section.span().start,
            &"`source = \"web-identity\"` needs an [issuer] section with its `url`",
        ))
    })
}

fn check_started(config: &Config, started: Started, place: Place<'_>) -> Result<(), ConfigError> {
    for section in &config.bindings {
        let (binding, start) = (section.get_ref(), section.span().start);
        if binding.source == SourceKind::WebIdentity && !started.issuer {
            let reason = "`source = \"web-identity\"` needs a restart: the agent was started \
                          without an [issuer]";
            return Err(place.key_of_table(start, "source", reason));
        }
        if !binding.conditions.labels.is_empty() && !started.docker {
            let reason =
                "`labels` needs a restart: the agent was started without a [docker] section";
            return Err(place.key_of_table(start, "labels", reason));
        }
    }
    Ok(())
}

fn check_issuer(config: &Config, place: Place<'_>) -> Result<(), ConfigError> {
    let Some(section) = &config.issuer else { return Ok(()) };
    let url = section.url.get_ref();
    let read = match section.allow_http {
        true => IssuerUrl::practice(url),
        false => url.parse(),
    };
    read.map(drop).map_err(|error| place.at(section.url.span().start, &error))
}

fn check_numbers(config: &Config, place: Place<'_>) -> Result<(), ConfigError> {
    let metadata = &config.metadata;
    if !(1..=64).contains(&metadata.hop_limit) {
        return Err(place.key("hop_limit", "`hop_limit` must be 1 to 64 hops"));
    }
    if !(1..=65_536).contains(&metadata.connections_max) {
        return Err(place.key("connections_max", "`connections_max` must be 1 to 65536"));
    }
    // A fetch is given up after that, whatever its call may take.
    let longest = FETCH_MAX.as_secs();
    if !(1..=longest).contains(&config.sts.timeout_s) {
        let reason = format!("`timeout_s` must be 1 to {longest} seconds");
        return Err(place.key("timeout_s", &reason));
    }
    config.calls.as_ref().map_or(Ok(()), |calls| check_calls(calls, place))
}

fn check_calls(calls: &CallsSection, place: Place<'_>) -> Result<(), ConfigError> {
    let numbers = [
        ("spool_mib", calls.spool_mib, 16..=1 << 20, "MiB"),
        ("table_mib", calls.table_mib as u64, 1..=4096, "MiB"),
        ("count_s", calls.count_s, 1..=3600, "seconds"),
        ("lines_per_second", calls.lines_per_second.into(), 10..=10_000_000, "lines a second"),
    ];
    for (key, number, range, unit) in numbers {
        if !range.contains(&number) {
            let (least, most) = range.into_inner();
            let reason = format!("`{key}` must be {least} to {most} {unit}");
            return Err(place.key(key, &reason));
        }
    }
    Ok(())
}

fn allow(host: &HostSection, place: Place<'_>) -> Result<AllowList, ConfigError> {
    let named = host.allow.iter().map(String::as_str);
    AllowList::parse(ALLOWED.into_iter().chain(named))
        .map_err(|error| place.key("allow", &error.to_string()))
}

fn facts(host: &HostSection, config: &Config, place: Place<'_>) -> Result<Facts, ConfigError> {
    let local_ipv4 = match host.local_ipv4 {
        None => None,
        Some(std::net::IpAddr::V4(address)) => Some(address),
        Some(std::net::IpAddr::V6(address)) => {
            return Err(place.key("local_ipv4", &format!("`{address}` is no IPv4 address")));
        }
    };
    Ok(Facts {
        instance_id: host.instance_id.clone(),
        instance_type: host.instance_type.clone(),
        ami_id: host.ami_id.clone(),
        architecture: host.architecture.clone(),
        account: host.account,
        // Where the host answers, its own words stand; else the region that STS is asked in.
        region: host.metadata.is_none().then(|| config.region.clone()),
        availability_zone: host.availability_zone.clone(),
        availability_zone_id: host.availability_zone_id.clone(),
        hostname: host.hostname.clone(),
        local_ipv4,
        mac: host.mac.clone(),
        partition: None,
        pending_time: None,
    })
}
