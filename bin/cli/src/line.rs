//! The line to the server: whom to ask, as whom, and what a refusal means for an exit code.

use std::time::Duration;

use api::{
    Client, Cursor, Endpoint, Kind, Limit, Page,
    client::{Address, AskError, InvalidAddress, Settings, Trust},
};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    Failure,
    keyring::{Home, Keyring, Known},
    paper::{Output, print},
};

/// How long one question may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Which server is meant.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// The server's address; several of one deployment with commas between them. The one of the last
    /// sign-in where absent.
    #[arg(
        long,
        global = true,
        display_order = 901,
        env = "ROLECALL_SERVER",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub(crate) server: Vec<Address>,
}

impl Place {
    /// Under which name the keyring knows the server.
    pub(crate) fn name(&self, keyring: &Keyring) -> Result<String, Failure> {
        let named = self.server.first().map(Address::to_string);
        named.or_else(|| keyring.current.clone()).ok_or_else(|| {
            Failure::Access(
                "no server is known: `rolecall login --server https://HOST:PORT --fingerprint sha256:…`"
                    .to_owned(),
            )
        })
    }

    /// The server's addresses: those that were typed, or else those that are known.
    pub(crate) fn addresses(&self, known: Option<&Known>) -> Result<Vec<Address>, Failure> {
        match (self.server.as_slice(), known) {
            ([], Some(known)) => known.addresses(),
            // Who names the first address alone means the deployment.
            ([one], Some(known)) if known.addresses.contains(&one.to_string()) => known.addresses(),
            (typed, _) => Ok(typed.to_vec()),
        }
    }

    /// A line as the person who is signed in.
    pub(crate) fn connect(&self, output: Output) -> Result<Line, Failure> {
        let keyring = Home::find()?.read()?;
        let name = self.name(&keyring)?;
        let unknown =
            || Failure::Access(format!("nobody is signed in at {name}: {}", way_in(&name)));
        let known = keyring.servers.get(&name).ok_or_else(unknown)?;
        let session = known.session.as_ref().ok_or_else(unknown)?;
        if session.expires <= Timestamp::now() {
            return Err(Failure::Access(format!(
                "the session at {name} has ended: {}",
                way_in(&name)
            )));
        }
        let settings = Settings {
            addresses: self.addresses(Some(known))?,
            trust: Trust::Authority(known.ca_pem.clone()),
            identity: None,
            bearer: Some(session.token.clone()),
            timeout: TIMEOUT,
        };
        let client = Client::new(settings).map_err(Failure::input)?;
        Ok(Line { client, output })
    }
}

fn way_in(name: &str) -> String {
    format!("`rolecall login --server {name}`")
}

/// A line to the server.
pub(crate) struct Line {
    pub(crate) client: Client,
    pub(crate) output: Output,
}

/// How much of a list is wanted.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Paging {
    /// How many items at most; all where absent.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// A list, as far as it was wanted.
#[derive(Debug, Serialize)]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// The most that one question asks for.
const PAGE: Limit = Limit::literal::<500>();

impl Line {
    /// Asks the endpoint `E`.
    pub(crate) async fn ask<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Answer, Failure> {
        Ok(self.client.ask::<E>(path, query, body).await?)
    }

    /// Prints an answer.
    pub(crate) fn show<T: Serialize>(
        &self,
        answer: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        crate::paper::show(self.output, answer, table)
    }

    /// Prints a list, and says where there is more.
    pub(crate) fn list<T: Serialize>(
        &self,
        listed: &Listed<T>,
        table: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        self.show(listed, |listed| match listed.items.as_slice() {
            [] => "none".to_owned(),
            items => table(items),
        })?;
        if listed.more && self.output == Output::Table {
            print("there are more: raise --limit");
        }
        Ok(())
    }
}

impl Paging {
    /// Asks for one page after the other.
    pub(crate) async fn follow<T>(
        self,
        mut page: impl AsyncFnMut(Option<Limit>, Option<Cursor>) -> Result<Page<T>, Failure>,
    ) -> Result<Listed<T>, Failure> {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let left = self.limit.map(|limit| limit.saturating_sub(items.len()));
            let wanted = left.and_then(|left| u32::try_from(left).ok());
            let wanted = wanted.and_then(|wanted| Limit::new(wanted).ok()).unwrap_or(PAGE);
            let Page { items: new, next } = page(Some(wanted), after).await?;
            items.extend(new);
            let enough = self.limit.is_some_and(|limit| items.len() >= limit);
            if enough {
                let cut = self.limit.is_some_and(|limit| items.len() > limit);
                items.truncate(self.limit.unwrap_or(usize::MAX));
                return Ok(Listed { items, more: cut || next.is_some() });
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(Listed { items, more: false }),
            }
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let Some(problem) = error.problem() else { return Self::World(error.to_string()) };
        let request = problem.instance.as_deref().map(|id| format!(" (request `{id}`)"));
        let request = request.unwrap_or_default();
        match problem.kind {
            Kind::NotSignedIn => {
                Self::Access(format!("{problem}: sign in with `rolecall login`{request}"))
            }
            Kind::NotAllowed | Kind::LoginRefused | Kind::CrossSite => {
                Self::Access(format!("{problem}{request}"))
            }
            Kind::Malformed
            | Kind::Invalid
            | Kind::NotFound
            | Kind::TooLarge
            | Kind::WrongMethod
            | Kind::WrongMediaType => Self::Input(format!("{problem}{request}")),
            _ => Self::World(format!("{problem}{request}")),
        }
    }
}

impl From<InvalidAddress> for Failure {
    fn from(error: InvalidAddress) -> Self {
        Self::Input(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use api::Problem;

    use super::*;

    fn fed(pages: Vec<Vec<u32>>, limit: Option<usize>) -> (Listed<u32>, Vec<Option<u32>>) {
        let mut asked = Vec::new();
        let mut pages = pages.into_iter().peekable();
        let follow = Paging { limit }.follow(async |limit: Option<Limit>, _| {
            asked.push(limit.map(Limit::get));
            let items = pages.next().unwrap();
            let next = pages.peek().map(|_| "next".parse().unwrap());
            Ok(Page { items, next })
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let listed = runtime.block_on(follow).unwrap();
        (listed, asked)
    }

    #[track_caller]
    fn check(limit: Option<usize>, items: &[u32], more: bool, asks: &[u32]) {
        let (listed, asked) = fed(vec![vec![1, 2], vec![3, 4], vec![5]], limit);
        assert_eq!((listed.items.as_slice(), listed.more), (items, more));
        assert_eq!(asked.into_iter().flatten().collect::<Vec<_>>(), asks);
    }

    #[test]
    fn pages_are_followed_until_there_are_enough_or_no_more() {
        check(None, &[1, 2, 3, 4, 5], false, &[500, 500, 500]);
        check(Some(4), &[1, 2, 3, 4], true, &[4, 2]);
        check(Some(3), &[1, 2, 3], true, &[3, 1]);
        check(Some(5), &[1, 2, 3, 4, 5], false, &[5, 3, 1]);
        check(Some(9), &[1, 2, 3, 4, 5], false, &[9, 7, 5]);
    }

    #[track_caller]
    fn check_code(kind: Kind, code: u8) {
        let failure = Failure::from(AskError::Refused(Problem::new(kind, "words")));
        assert_eq!(failure.code(), code, "{kind}: {failure}");
        assert!(failure.to_string().starts_with("words"), "{failure}");
    }

    #[test]
    fn an_exit_code_says_who_must_act() {
        check_code(Kind::NotSignedIn, 3);
        check_code(Kind::NotAllowed, 3);
        check_code(Kind::LoginRefused, 3);
        check_code(Kind::Invalid, 2);
        check_code(Kind::NotFound, 2);
        check_code(Kind::Conflict, 1);
        check_code(Kind::Internal, 1);
        check_code(Kind::StateUnavailable, 1);
        check_code(Kind::Unknown, 1);
    }
}
