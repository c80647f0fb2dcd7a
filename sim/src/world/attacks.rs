//! What those try who want what is not theirs. Whether they get it is for the judge to see: every
//! answer to them is searched like any other.

use agent::engine::Caller;
use metadata::Door;
use workload::Evidence;

use super::{
    World,
    asking::{Got, Sends},
};

/// Ways to write the path of a role's credentials.
const PATHS: [&str; 6] = [
    "/latest/meta-data/iam/security-credentials/{}",
    "/1.0/meta-data/iam/security-credentials/{}",
    "/latest//meta-data/iam/security-credentials/../security-credentials/{}",
    "/latest/meta-data/iam/security%2dcredentials/{}",
    "/2021-07-15/meta-data/iam/security-credentials/{}/",
    "/latest/meta-data/identity-credentials/ec2/security-credentials/{}",
];

/// What the attacker has stolen of a victim.
#[derive(Debug)]
struct Loot {
    /// Its session token.
    token: String,
    role_name: String,
    id: String,
    bearer: String,
}

impl World<'_> {
    /// A workload, or somebody unknown, tries all that it can with what it stole from another.
    pub(super) fn attack(&mut self) {
        let alive = self.alive();
        let (Some(attacker), Some(victim)) =
            (self.random.pick(&alive).copied(), self.random.pick(&alive).copied())
        else {
            return;
        };
        let Some(loot) = self.steal(victim) else { return };
        if attacker != victim {
            let evidence = self.own_evidence(attacker, victim);
            self.try_all(Some(attacker), &evidence, &loot);
        }
        let stranger = self.strange_evidence(attacker, victim);
        self.try_all(None, &stranger, &loot);
    }

    /// All that the victim knows, as if it had been tricked into telling it.
    fn steal(&mut self, victim: usize) -> Option<Loot> {
        let of = self.places.get(victim)?;
        let role_name = self.applications.get(of.application)?.role_name();
        let tokens = self.host.agent.engine().tokens();
        let id = metadata::container_id(tokens, &of.id).expose().clone();
        let bearer = metadata::container_token(tokens, &of.id).expose().clone();
        let mut caller = self.host.agent.identify(&of.evidence);
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", "600")];
        let (door, target) = (Door::Instance, "/latest/api/token");
        let sends = Sends { door, method: "PUT", target, headers: &headers, honest: false };
        let token = match self.send(Some(victim), &mut caller, &sends) {
            Got::Answer(answer, _) if answer.status == 200 => {
                String::from_utf8_lossy(answer.body.expose()).into_owned()
            }
            _ => String::new(),
        };
        Some(Loot { token, role_name, id, bearer })
    }

    /// The attacker's own evidence, with the victim's address: addresses can be forged.
    fn own_evidence(&self, attacker: usize, victim: usize) -> Evidence {
        let evidence = self.places.get(attacker).map(|of| of.evidence.clone()).unwrap_or_default();
        let last = u8::try_from(victim % 250).unwrap_or_default();
        Evidence { address: Some([10, 0, 0, last].into()), ..evidence }
    }

    /// What proves nobody: nothing, something unknown, or two workloads at once.
    fn strange_evidence(&mut self, one: usize, other: usize) -> Evidence {
        let of = |place: usize| {
            let place = self.places.get(place)?;
            let application = self.applications.get(place.application)?;
            application.is_bound().then(|| (place.application, place.evidence.clone()))
        };
        let both = of(one).zip(of(other));
        let mut evidence = Evidence { address: Some([10, 0, 0, 1].into()), ..Evidence::default() };
        match both {
            // A socket of the one in the namespace of the other.
            Some(((left, one), (right, other)))
                if left != right && one.namespace.is_some() && other.cgroup.is_some() =>
            {
                evidence.namespace = one.namespace;
                evidence.cgroup = other.cgroup;
                evidence.container = other.container;
            }
            _ if self.random.chance(500) => {
                evidence.cgroup = "/system.slice/stranger.service".parse().ok();
            }
            _ => {}
        }
        evidence
    }

    fn try_all(&mut self, place: Option<usize>, evidence: &Evidence, loot: &Loot) {
        self.counts.attacks += 1;
        let mut caller = self.host.agent.identify(evidence);
        let Loot { token, role_name, id, bearer } = loot;
        let own = self.own_token(place, &mut caller);
        let path = self.random.pick(&PATHS).copied().unwrap_or_default();
        let path = path.replace("{}", role_name);
        for token in [&**token, &*own, ""] {
            let headers = [("host", "169.254.169.254"), ("x-aws-ec2-metadata-token", token)];
            // No token at all is IMDSv1.
            let count = if token.is_empty() { 1 } else { 2 };
            let headers = headers.get(..count).unwrap_or_default();
            self.attempt(place, &mut caller, Door::Instance, &path, headers);
        }
        let target = format!("/v2/credentials/{id}");
        self.attempt(place, &mut caller, Door::Container, &target, &[("host", "169.254.170.2")]);
        let target = format!("/v1/credentials?id={id}");
        let headers = [("host", "169.254.170.2"), ("authorization", bearer)];
        self.attempt(place, &mut caller, Door::Container, &target, &headers);
        let headers = [("host", "169.254.170.23"), ("authorization", bearer)];
        self.attempt(place, &mut caller, Door::PodIdentity, "/v1/credentials", &headers);
    }

    fn own_token(&mut self, place: Option<usize>, caller: &mut Caller) -> String {
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", "60")];
        let (door, target) = (Door::Instance, "/latest/api/token");
        let sends = Sends { door, method: "PUT", target, headers: &headers, honest: false };
        match self.send(place, caller, &sends) {
            Got::Answer(answer, _) => String::from_utf8_lossy(answer.body.expose()).into_owned(),
            Got::Wait(_) => String::new(),
        }
    }

    fn attempt(
        &mut self,
        place: Option<usize>,
        caller: &mut Caller,
        door: Door,
        target: &str,
        headers: &[(&str, &str)],
    ) {
        let sends = Sends { door, method: "GET", target, headers, honest: false };
        self.send(place, caller, &sends);
    }
}
