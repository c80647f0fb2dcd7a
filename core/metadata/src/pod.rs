use crate::{
    Form, PathClass, Step, container_token,
    decide::{Ask, Refusal},
    request::Sent,
};

/// EKS Pod Identity: a bearer token, sent as it is, of the workload that the kernel attests.
pub(crate) fn decide(ask: &Ask<'_>) -> (PathClass, Result<Step, Refusal>) {
    if ask.target.path() == "/v1/credentials" {
        (PathClass::PodIdentityCredentials, step(ask))
    } else {
        (PathClass::Other, ask.admit().and(Err(Refusal::Unknown)))
    }
}

fn step(ask: &Ask<'_>) -> Result<Step, Refusal> {
    ask.admit()?;
    if !ask.request.method.reads() {
        return Err(Refusal::Method("GET, HEAD"));
    }
    match ask.request.authorization {
        Sent::Absent | Sent::Repeated | Sent::Once(b"") => Err(Refusal::SecretMissing),
        Sent::Once(token) if !container_token(ask.tokens, ask.subject.workload).matches(token) => {
            // The service that stands behind the real endpoint says 400 to every bad token.
            Err(Refusal::SecretUnknown)
        }
        Sent::Once(_) => {
            ask.subject.role.map(|_| Step::Credentials(Form::PodIdentity)).ok_or(Refusal::NoRole)
        }
    }
}
