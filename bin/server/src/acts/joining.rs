//! How hosts may join: tokens and rules, made by people. How they do is in [`super::agents`].

use std::sync::Arc;

use api::{
    Action, JoinToken, Kind, Page, PageAsked, Problem,
    joining::{
        JoinRule, JoinRuleFacts, JoinRulePath, JoinRuleTerms, JoinTokenEntry, JoinTokenFacts,
        JoinTokenPath, LIFE_MINUTES, NewJoinToken, USES,
    },
    switch::ReasonAsked,
};
use jiff::SignedDuration;
use serde_json::json;
use state::{JoinRuleRow, JoinTokenKey, JoinTokenRow, StateError};
use workload::Glob;

use super::{check_labels, commit};
use crate::{
    caller::Person,
    cursor,
    fault::OrProblem,
    policies::Resource,
    random,
    rows::{self, JoinTokenBody},
    server::Server,
};

/// Makes a token that hosts join by.
///
/// # Errors
/// When a label cannot be kept.
pub async fn make_token(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    facts: JoinTokenFacts,
) -> Result<NewJoinToken, Problem> {
    check_labels("labels", &facts.labels)?;
    let permit = person.may(&server, Action::ManageHosts, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let now = act.now();
    let (uses, life) = (facts.uses.unwrap_or(USES), facts.life_minutes.unwrap_or(LIFE_MINUTES));
    let life = SignedDuration::from_mins(i64::from(life.get()));
    let expires = now.checked_add(life).map_err(|error| Problem::invalid(error.to_string()))?;
    let (id, secret) = (random::id("jt-")?, random::secret("")?);
    let secret_hash = random::hash(secret.expose());
    let token = JoinToken::new(&id, secret, server.authority.pin())
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let detail = json!({
        "labels": facts.labels,
        "region": facts.region.as_ref().map(ToString::to_string),
        "uses": uses.get(),
        "expires": expires.to_string(),
    });
    act.record("join-token.made", &id, detail).await?;
    let body = JoinTokenBody { actor: person.id().to_owned(), facts };
    act.put_join_token(&JoinTokenRow {
        id: id.clone(),
        secret_hash,
        uses: u64::from(uses.get()),
        used: 0,
        made: now,
        expires,
        revoked: None,
        body: rows::write("join_tokens", &body).or_problem()?,
    })
    .await
    .or_problem()?;
    commit(&server, act).await?;
    Ok(NewJoinToken { id, token, expires })
}

/// Lists the tokens that were made, latest first.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list_tokens(
    server: Arc<Server>,
    person: Person,
    (): (),
    asked: PageAsked,
    (): (),
) -> Result<Page<JoinTokenEntry>, Problem> {
    person.may(&server, Action::ManageHosts, &Resource::Deployment).await?.seen();
    let limit = cursor::limit(asked.limit);
    let after = cursor::read::<JoinTokenKey>(asked.after.as_ref())?;
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.join_tokens(after.as_ref(), limit + 1).await.or_problem()?;
    let page = cursor::page(rows, limit, |row| (row.made, row.id.clone()));
    let items = page.items.into_iter().map(token).collect::<Result<_, _>>();
    Ok(Page { items: items.or_problem()?, next: page.next })
}

/// Revokes a token.
///
/// # Errors
/// When there is none with that id, or it was revoked already.
pub async fn revoke_token(
    server: Arc<Server>,
    person: Person,
    JoinTokenPath { id }: JoinTokenPath,
    ReasonAsked { reason }: ReasonAsked,
    (): (),
) -> Result<(), Problem> {
    let permit = person.may(&server, Action::ManageHosts, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let now = act.now();
    let row = act.join_token(id.as_str()).await.or_problem()?;
    let mut row =
        row.ok_or_else(|| Problem::not_found(format!("there is no join token `{id}`")))?;
    if row.revoked.is_some() {
        return Err(Problem::conflict(format!("join token `{id}` was revoked already")));
    }
    let detail = json!({ "reason": reason.as_str(), "used": row.used });
    act.record("join-token.revoked", id.as_str(), detail).await?;
    row.revoked = Some(now);
    act.put_join_token(&row).await.or_problem()?;
    commit(&server, act).await?;
    Ok(())
}

fn token(row: JoinTokenRow) -> Result<JoinTokenEntry, StateError> {
    let JoinTokenBody { actor, facts } = rows::read("join_tokens", &row.id, &row.body)?;
    Ok(JoinTokenEntry {
        id: row.id,
        labels: facts.labels,
        region: facts.region,
        uses: row.uses,
        used: row.used,
        actor,
        made: row.made,
        expires: row.expires,
        revoked: row.revoked,
    })
}

/// Lists the join rules by name.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list_rules(
    server: Arc<Server>,
    person: Person,
    (): (),
    asked: PageAsked,
    (): (),
) -> Result<Page<JoinRule>, Problem> {
    person.may(&server, Action::ManageHosts, &Resource::Deployment).await?.seen();
    let (limit, after) =
        (cursor::limit(asked.limit), cursor::read::<String>(asked.after.as_ref())?);
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.join_rules(after.as_deref(), limit + 1).await.or_problem()?;
    let page = cursor::page(rows, limit, |row| row.rule.clone());
    let items = page.items.iter().map(rows::join_rule).collect::<Result<_, _>>();
    Ok(Page { items: items.or_problem()?, next: page.next })
}

/// Says which AWS roles may join.
///
/// # Errors
/// When a label cannot be kept, or the pattern is none of role names.
pub async fn put_rule(
    server: Arc<Server>,
    person: Person,
    JoinRulePath { rule }: JoinRulePath,
    (): (),
    facts: JoinRuleFacts,
) -> Result<JoinRule, Problem> {
    let JoinRuleFacts { account, role_name, labels, region } = facts;
    check_labels("labels", &labels)?;
    role_pattern(role_name.as_str()).map_err(|wrong| {
        Problem::invalid("the rule fits no role").with_field("role_name", wrong)
    })?;
    let permit = person.may(&server, Action::ManageHosts, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let now = act.now();
    let detail = json!({
        "account": account.to_string(),
        "role_name": role_name.as_str(),
        "labels": labels,
        "region": region.as_ref().map(ToString::to_string),
    });
    act.record("join-rule.put", rule.as_str(), detail).await?;
    let terms = JoinRuleTerms { account, role_name, labels, region };
    let body = rows::write("join_rules", &terms).or_problem()?;
    let row = JoinRuleRow { rule: rule.as_str().to_owned(), body, changed: now };
    act.put_join_rule(&row).await.or_problem()?;
    commit(&server, act).await?;
    Ok(JoinRule { rule, terms, changed: now })
}

/// Removes a join rule.
///
/// # Errors
/// When there is none of that name.
pub async fn delete_rule(
    server: Arc<Server>,
    person: Person,
    JoinRulePath { rule }: JoinRulePath,
    ReasonAsked { reason }: ReasonAsked,
    (): (),
) -> Result<(), Problem> {
    let permit = person.may(&server, Action::ManageHosts, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let detail = json!({ "reason": reason.as_str() });
    act.record("join-rule.deleted", rule.as_str(), detail).await?;
    if !act.delete_join_rule(rule.as_str()).await.or_problem()? {
        return Err(Problem::not_found(format!("there is no join rule `{rule}`")));
    }
    commit(&server, act).await?;
    Ok(())
}

/// The pattern of a rule. Of all that patterns can say, a star is what a role's name leaves room for.
///
/// # Errors
/// When it holds a character that no role's name has.
pub fn role_pattern(text: &str) -> Result<Glob, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-*".contains(&byte);
    if !text.bytes().all(legal) {
        return Err("must be of `A-Z a-z 0-9 _ + = , . @ -` and `*`".to_owned());
    }
    text.parse::<Glob>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, fits: bool) {
        assert_eq!(role_pattern(pattern).unwrap().is_match(name), fits, "{pattern} {name}");
    }

    #[test]
    fn a_star_stands_for_any_part_of_a_roles_name_and_nothing_else_is_special() {
        check("web", "web", true);
        check("web", "web-1", false);
        check("web-*", "web-1", true);
        check("*", "anything.at+all", true);
        check("a.c", "abc", false);
        for pattern in ["", "a?", "[ab]", "{a,b}", "a/b", "a b"] {
            assert!(role_pattern(pattern).is_err(), "{pattern}");
        }
    }
}
