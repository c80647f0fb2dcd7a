//! Tokens from the server, and what becomes of those that it does not give.

use api::{
    Kind,
    agents::{MintToken, Minted, TokenRequest},
    client::AskError,
};
use credentials::{FetchError, LeaseKey};
use secret::SecretText;

use super::{
    line::{Control, State},
    told,
};
use crate::clock;

impl Control {
    /// A token for a lease, from the server.
    ///
    /// # Errors
    /// When the server does not give one: the error says who must act.
    pub async fn mint(&self, key: &LeaseKey) -> Result<SecretText, FetchError> {
        if self.state().told.is_revoked() {
            return Err(FetchError::Refused {
                kind: Kind::Revoked.to_string(),
                message: "this host was revoked".to_owned(),
            });
        }
        let named = |state: &State| state.named.contains(&key.workload);
        self.report_unless(named).await.map_err(|error| self.translate(&error))?;
        let taken = self.state().taken;
        match self.ask_for_token(key).await {
            Err(error) if is_not_running(&error) => {
                // The server may have lost sight of this host: it hears of it now.
                let since = |state: &State| state.taken > taken;
                self.report_unless(since).await.map_err(|error| self.translate(&error))?;
                self.ask_for_token(key).await
            }
            answer => answer,
        }
        .map(|minted| minted.token)
        .map_err(|error| self.translate(&error))
    }

    async fn ask_for_token(&self, key: &LeaseKey) -> Result<Minted, AskError> {
        let request = TokenRequest { workload: key.workload.clone(), role: key.role.clone() };
        let minted = self.client().ask::<MintToken>(&(), &(), &request).await;
        self.note(&minted);
        minted
    }

    fn translate(&self, error: &AskError) -> FetchError {
        let (now, expires) = (clock::now().wall, self.state().identity.joined.expires);
        translate(error, now >= expires)
    }
}

fn is_not_running(error: &AskError) -> bool {
    error.problem().is_some_and(|problem| problem.kind == Kind::NotRunning)
}

/// What a lease makes of it that the server cannot be asked, or refuses. Who must act is not lost.
fn translate(error: &AskError, certificate_ended: bool) -> FetchError {
    let said = told::words(error);
    match error {
        AskError::Refused(problem) => match problem.kind {
            Kind::Revoked
            | Kind::PlacementRefused
            | Kind::NotBound
            | Kind::SwitchedOff
            | Kind::NotAHost => {
                FetchError::Refused { kind: problem.kind.to_string(), message: said }
            }
            Kind::RateLimited => FetchError::Throttled,
            // It passes, or the server's operator sees it there.
            Kind::NotRunning | Kind::Internal => FetchError::Unavailable(said),
            kind if kind.undone() => FetchError::Unavailable(said),
            _ => FetchError::Misconfigured(said),
        },
        AskError::IdentityRefused { .. } if !certificate_ended => FetchError::Clock(said),
        AskError::IdentityRefused { .. } | AskError::Untrusted { .. } | AskError::Unfit(_) => {
            FetchError::Misconfigured(said)
        }
        AskError::Unreachable(_) | AskError::Lost { .. } | AskError::Illegible { .. } => {
            FetchError::Unavailable(said)
        }
    }
}

#[cfg(test)]
mod tests {
    use api::Problem;
    use credentials::Actor;

    use super::*;

    #[track_caller]
    fn check(kind: Kind, actor: Actor, words: &str) {
        let error = translate(&AskError::Refused(Problem::new(kind, "the server's words")), false);
        assert_eq!(error.actor(), actor, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains("the server's words") || error == FetchError::Throttled);
    }

    #[test]
    fn who_must_act_is_not_lost_between_the_server_and_the_lease() {
        for kind in [Kind::Revoked, Kind::PlacementRefused, Kind::NotBound, Kind::SwitchedOff] {
            check(kind, Actor::Operator, kind.slug());
        }
        for kind in [Kind::NotRunning, Kind::LedgerUnavailable, Kind::Busy, Kind::Internal] {
            check(kind, Actor::Nobody, "unavailable");
        }
        check(Kind::RateLimited, Actor::Nobody, "slow down");
        check(Kind::Malformed, Actor::Operator, "set up wrongly");
        check(Kind::Unknown, Actor::Operator, "set up wrongly");
    }

    #[test]
    fn a_certificate_that_is_refused_before_its_end_is_a_matter_of_clocks() {
        let address = "https://one.example:8443".parse().unwrap();
        let refused = AskError::IdentityRefused { address, why: "CertificateExpired".to_owned() };
        assert!(matches!(translate(&refused, false), FetchError::Clock(_)));
        assert!(matches!(translate(&refused, true), FetchError::Misconfigured(_)));
        assert!(matches!(
            translate(&AskError::Unreachable(Vec::new()), false),
            FetchError::Unavailable(_)
        ));
    }
}
