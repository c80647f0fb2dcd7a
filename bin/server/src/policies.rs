//! Who may do what: policies in Cedar's language, decided here and nowhere else.
//!
//! INVARIANT (NobodyLockedOut): policies in force let the group `admin` change policies and people. Who is
//! locked out of everything can get into that group by `rolecall-server admin-token`, on the machine itself.

use std::collections::{BTreeSet, HashSet};

use api::Action;
use cedar_policy::{
    Authorizer, Context, Decision as Verdict, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use serde::{Deserialize, Serialize};

/// What policies are checked against, in Cedar's language.
pub const SCHEMA: &str = include_str!("policies/schema.cedarschema");

/// The policies that a deployment begins with.
pub const SHIPPED: &str = include_str!("policies/shipped.cedar");

/// The group that can always change policies and people.
pub const ADMIN: &str = "admin";

/// What something is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Resource {
    /// Everything together.
    Deployment,
    /// An application, perhaps in one environment.
    Application {
        /// Its name.
        application: String,
        /// The environment, where one is meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        /// The group that owns it, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// How much it matters, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<u32>,
    },
    /// A host.
    Host {
        /// Its id.
        host: String,
        /// What people call it.
        name: String,
    },
}

/// What is decided: who wants to do what to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The person's id.
    pub person: String,
    /// Their name.
    pub name: String,
    /// The groups that they are in.
    pub groups: BTreeSet<String>,
    /// What they want to do.
    pub action: Action,
    /// To what.
    pub resource: Resource,
}

/// An answer, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether they may.
    pub allowed: bool,
    /// The ids of the policies that decided; none where nothing permits it.
    pub because: Vec<String>,
}

/// Policies that fit the schema.
#[derive(Debug)]
pub struct Policies {
    version: u64,
    text: String,
    set: PolicySet,
    schema: Schema,
}

/// The policies cannot be put in force. Whoever wrote them must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct InvalidPolicies(pub Vec<String>);

impl Resource {
    /// What a decision about it is filed under: `orders/prod`, `host h1`, `deployment`.
    pub fn subject(&self) -> String {
        match self {
            Self::Deployment => "deployment".to_owned(),
            Self::Application { application, environment: Some(environment), .. } => {
                format!("{application}/{environment}")
            }
            Self::Application { application, environment: None, .. } => application.clone(),
            Self::Host { host, .. } => format!("host {host}"),
        }
    }
}

impl Policies {
    /// Reads and checks policies.
    ///
    /// # Errors
    /// With everything that is wrong: they are none, do not fit the schema, or would lock everybody out.
    pub fn parse(version: u64, text: &str) -> Result<Self, InvalidPolicies> {
        if text.len() > api::policies::POLICIES_MAX {
            let max = api::policies::POLICIES_MAX;
            return Err(InvalidPolicies(vec![format!("must be at most {max} bytes long")]));
        }
        let set: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| {
            InvalidPolicies(error.iter().map(ToString::to_string).collect())
        })?;
        if set.templates().next().is_some() {
            let reason = "templates cannot be used: there is nothing that fills them in";
            return Err(InvalidPolicies(vec![reason.to_owned()]));
        }
        let schema = schema()?;
        let checked = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        if !checked.validation_passed() {
            let errors = checked.validation_errors().map(ToString::to_string);
            return Err(InvalidPolicies(errors.collect()));
        }
        let policies = Self { version, text: text.to_owned(), set, schema };
        policies.lets_admins_back()?;
        Ok(policies)
    }

    /// Their version; 0 for those that a deployment begins with.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Their text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Decides. What cannot be decided is not allowed.
    pub fn decide(&self, question: &Question) -> Answer {
        let Ok((request, entities)) = ask(question, &self.schema) else {
            return Answer { allowed: false, because: Vec::new() };
        };
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        // A policy that cannot be evaluated may be one that forbids.
        let sound = response.diagnostics().errors().next().is_none();
        let mut because: Vec<String> =
            response.diagnostics().reason().map(|id| self.name(id)).collect();
        because.sort_unstable();
        Answer { allowed: sound && response.decision() == Verdict::Allow, because }
    }

    /// What its author calls a policy.
    fn name(&self, id: &cedar_policy::PolicyId) -> String {
        let name = self.set.policy(id).and_then(|policy| policy.annotation("id"));
        name.map_or_else(|| id.to_string(), str::to_owned)
    }

    fn lets_admins_back(&self) -> Result<(), InvalidPolicies> {
        let lost = [Action::ManagePolicies, Action::ManagePeople].into_iter().filter(|action| {
            let question = Question {
                person: "somebody".to_owned(),
                name: "Somebody".to_owned(),
                groups: BTreeSet::from([ADMIN.to_owned()]),
                action: *action,
                resource: Resource::Deployment,
            };
            !self.decide(&question).allowed
        });
        let lost: Vec<String> = lost
            .map(|action| format!("nobody could change them again: everybody in the group `{ADMIN}` must be permitted `{action}`"))
            .collect();
        if lost.is_empty() { Ok(()) } else { Err(InvalidPolicies(lost)) }
    }
}

fn schema() -> Result<Schema, InvalidPolicies> {
    match Schema::from_cedarschema_str(SCHEMA) {
        Ok((schema, _)) => Ok(schema),
        Err(error) => Err(InvalidPolicies(vec![format!("the schema: {error}")])),
    }
}

/// What Cedar makes of a text is refused as a whole.
type Refused = Box<dyn std::error::Error + Send + Sync>;

fn ask(question: &Question, schema: &Schema) -> Result<(Request, Entities), Refused> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let groups: Vec<EntityUid> =
        question.groups.iter().map(|group| uid("Group", group)).collect::<Result<_, _>>()?;
    let person = uid("Person", &question.person)?;
    let deployment = uid("Deployment", "deployment")?;
    let mut entities = vec![
        Entity::new(
            person.clone(),
            [("name".to_owned(), text(&question.name))].into(),
            groups.iter().cloned().collect(),
        )?,
        Entity::new_no_attrs(deployment.clone(), HashSet::new()),
    ];
    entities.extend(groups.into_iter().map(|group| Entity::new_no_attrs(group, HashSet::new())));
    let mut circumstances = Vec::new();
    let resource = match &question.resource {
        Resource::Deployment => deployment,
        Resource::Application { application, environment, owner, tier } => {
            let it = uid("Application", application)?;
            let mut facts = std::collections::HashMap::new();
            if let Some(owner) = owner {
                let owner = RestrictedExpression::new_entity_uid(uid("Group", owner)?);
                facts.insert("owner".to_owned(), owner);
            }
            if let Some(tier) = tier {
                let tier = RestrictedExpression::new_long(i64::from(*tier));
                facts.insert("tier".to_owned(), tier);
            }
            circumstances
                .extend(environment.iter().map(|name| ("environment".to_owned(), text(name))));
            entities.push(Entity::new(it.clone(), facts, [deployment].into())?);
            it
        }
        Resource::Host { host, name } => {
            let it = uid("Host", host)?;
            let facts = [("name".to_owned(), text(name))].into();
            entities.push(Entity::new(it.clone(), facts, [deployment].into())?);
            it
        }
    };
    let context = Context::from_pairs(circumstances)?;
    let action = uid("Action", question.action.as_str())?;
    let request = Request::new(person, action, resource, context, Some(schema))?;
    Ok((request, Entities::from_entities(entities, None)?))
}

fn uid(kind: &'static str, id: &str) -> Result<EntityUid, Refused> {
    let kind: EntityTypeName = kind.parse()?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(owner: Option<&str>, environment: &str) -> Resource {
        Resource::Application {
            application: "orders".to_owned(),
            environment: Some(environment.to_owned()),
            owner: owner.map(str::to_owned),
            tier: Some(1),
        }
    }

    fn host() -> Resource {
        Resource::Host { host: "h1".to_owned(), name: "web-1".to_owned() }
    }

    fn question(groups: &[&str], action: Action, resource: Resource) -> Question {
        Question {
            person: "ann".to_owned(),
            name: "Ann".to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            action,
            resource,
        }
    }

    #[track_caller]
    fn check(text: &str, groups: &[&str], action: Action, resource: Resource, allowed: bool) {
        let policies = Policies::parse(1, text).unwrap();
        let answer = policies.decide(&question(groups, action, resource));
        assert_eq!(answer.allowed, allowed, "{groups:?} {action}: {answer:?}");
        assert!(!allowed || !answer.because.is_empty());
    }

    #[test]
    fn without_a_group_nothing_is_allowed() {
        for action in Action::ALL {
            check(SHIPPED, &[], *action, Resource::Deployment, false);
            check(SHIPPED, &["unknown"], *action, Resource::Deployment, false);
        }
    }

    #[test]
    fn the_shipped_groups_may_what_they_are_for() {
        use Action::{
            FlipSwitch, ManageApplications, ManageHosts, ManageIssuer, ManagePeople,
            ManagePolicies, ProposeBinding, ReadLedger, ReviewBinding, View,
        };
        let rows: [(&str, &[Action]); 5] = [
            ("viewer", &[View]),
            ("owner", &[View]),
            (
                "operator",
                &[View, ManageApplications, ProposeBinding, ReviewBinding, FlipSwitch, ManageHosts],
            ),
            ("security", &[View, ReviewBinding, FlipSwitch, ManageHosts, ManageIssuer, ReadLedger]),
            ("admin", Action::ALL),
        ];
        for (group, may) in rows {
            for action in Action::ALL {
                check(SHIPPED, &[group], *action, Resource::Deployment, may.contains(action));
            }
        }
        assert!([ManagePeople, ManagePolicies].iter().all(|action| Action::ALL.contains(action)));
        assert_eq!(rows.map(|(group, _)| group), api::people::SHIPPED_GROUPS);
    }

    #[test]
    fn owners_propose_for_what_their_group_owns_alone() {
        let propose = Action::ProposeBinding;
        check(SHIPPED, &["owner", "team-a"], propose, application(Some("team-a"), "prod"), true);
        check(SHIPPED, &["owner", "team-a"], propose, application(Some("team-b"), "prod"), false);
        check(SHIPPED, &["owner", "team-a"], propose, application(None, "prod"), false);
        check(SHIPPED, &["viewer", "team-a"], propose, application(Some("team-a"), "prod"), false);
        check(
            SHIPPED,
            &["owner", "team-a"],
            Action::ReviewBinding,
            application(Some("team-a"), "prod"),
            false,
        );
        check(SHIPPED, &["operator"], Action::ManageHosts, host(), true);
        check(SHIPPED, &["viewer"], Action::ManageHosts, host(), false);
    }

    #[test]
    fn policies_see_the_environment_and_who_somebody_is() {
        let text = format!(
            "{SHIPPED}\nforbid (principal, action == Action::\"FlipSwitch\", resource) when {{ \
             context has environment && context.environment == \"prod\" && principal != Person::\"ann\" }};"
        );
        let flip = Action::FlipSwitch;
        check(&text, &["operator"], flip, application(None, "prod"), true);
        check(&text, &["operator"], flip, application(None, "test"), true);
        let policies = Policies::parse(1, &text).unwrap();
        let mut bob = question(&["operator"], flip, application(None, "prod"));
        bob.person = "bob".to_owned();
        assert!(!policies.decide(&bob).allowed);
    }

    #[test]
    fn a_policy_that_cannot_be_evaluated_allows_nothing() {
        let text = format!(
            "{SHIPPED}\nforbid (principal, action == Action::\"View\", resource) when {{ \
             9223372036854775807 + 1 == 0 }};"
        );
        check(&text, &["admin"], Action::View, Resource::Deployment, false);
        check(&text, &["admin"], Action::ReadLedger, Resource::Deployment, true);
    }

    #[track_caller]
    fn refused(text: &str, part: &str) {
        let errors = Policies::parse(1, text).unwrap_err();
        assert!(errors.to_string().contains(part), "{errors}");
    }

    #[test]
    fn what_does_not_fit_or_locks_everybody_out_is_refused() {
        refused("permit (", "unexpected");
        refused("", "nobody could change them again");
        refused("permit (principal, action == Action::\"Veiw\", resource);", "Veiw");
        refused(
            &format!("{SHIPPED}\npermit (principal == ?principal, action, resource);"),
            "templates",
        );
        let forbid = "forbid (principal, action == Action::\"ManagePolicies\", resource) unless { principal == Person::\"ann\" };";
        refused(&format!("{SHIPPED}\n{forbid}"), "ManagePolicies");
        refused(
            &format!(
                "{SHIPPED}\npermit (principal in Group::\"a\", action, resource) when {{ resource.owner == 1 }};"
            ),
            "owner",
        );
    }
}
