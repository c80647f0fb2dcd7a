use crate::{
    Form, PathClass, Step, container_id, container_token,
    decide::{Ask, Refusal},
    request::Sent,
};

/// The ECS container endpoint: an id that cannot be guessed, of the workload that the kernel
/// attests. An authorization is not needed, but a wrong one is refused.
pub(crate) fn decide(ask: &Ask<'_>) -> (PathClass, Result<Step, Refusal>) {
    let path = ask.target.path();
    let id = match path.strip_prefix("/v2/credentials") {
        Some("") => Some(Ok("")),
        Some(id) => id.strip_prefix('/').map(Ok),
        None if path == "/v1/credentials" => Some(id_of_query(ask.target.query())),
        None => None,
    };
    match id {
        Some(id) => (PathClass::ContainerCredentials, step(ask, id)),
        None => (PathClass::Other, ask.admit().and(Err(Refusal::Unknown))),
    }
}

fn step(ask: &Ask<'_>, id: Result<&str, Refusal>) -> Result<Step, Refusal> {
    ask.admit()?;
    if !ask.request.method.reads() {
        return Err(Refusal::Method("GET, HEAD"));
    }
    let id = id?;
    if id.is_empty() {
        return Err(Refusal::SecretMissing);
    }
    if !container_id(ask.tokens, ask.subject.workload).matches(id.as_bytes()) {
        return Err(Refusal::SecretUnknown);
    }
    if let Sent::Once(authorization) = ask.request.authorization
        && !container_token(ask.tokens, ask.subject.workload).matches(authorization)
    {
        return Err(Refusal::Unauthorized);
    }
    ask.subject.role.map(|_| Step::Credentials(Form::Container)).ok_or(Refusal::NoRole)
}

/// The one `id` of a query.
fn id_of_query(query: Option<&str>) -> Result<&str, Refusal> {
    let mut ids = query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("id="));
    match (ids.next(), ids.next()) {
        (_, Some(_)) => Err(Refusal::Malformed),
        (id, None) => Ok(id.unwrap_or_default()),
    }
}
