//! Sessions: what a person holds after signing in.
//!
//! A session is a random text. The database knows its hash alone, so that who reads the database is
//! nobody. It ends 12 hours after it began, and sooner when it is not used for an hour.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use ring::digest::{Context, SHA256};
use secret::SecretText;
use state::SessionRow;

use api::login::COOKIE;

/// How long a session lives at most.
pub const LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How long a session lives without being used.
pub const IDLE: SignedDuration = SignedDuration::from_hours(1);
/// How exactly it is noted when a session was used last: a look is not a write.
const NOTED: SignedDuration = SignedDuration::from_mins(1);

const _: () = assert!(NOTED.as_secs() * 10 <= IDLE.as_secs() && IDLE.as_secs() < LIFE.as_secs());

/// Whether a session is still good.
pub(crate) fn lives(row: &SessionRow, now: Timestamp) -> bool {
    now < row.expires && now < row.used + IDLE
}

/// Whether it should be noted that it was used.
pub(crate) fn should_touch(row: &SessionRow, now: Timestamp) -> bool {
    now >= row.used + NOTED
}

/// What a browser must send along when it changes something. Only who knows the session's text can say it, and
/// another site does not, although the browser sends the cookie for it.
pub(crate) fn csrf(session: &SecretText) -> SecretText {
    let mut context = Context::new(&SHA256);
    context.update(b"rolecall-csrf\0");
    context.update(session.expose().as_bytes());
    SecretText::new(BASE64_URL_SAFE_NO_PAD.encode(context.finish()))
}

/// The cookie that holds a session. Its name makes browsers refuse it from anybody but this very host, over TLS.
pub(crate) fn cookie(session: &SecretText) -> String {
    let life = LIFE.as_secs();
    format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={life}", session.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(created: &str, used: &str, now: &str, alive: bool) {
        let created: Timestamp = created.parse().unwrap();
        let row = SessionRow {
            hash: "h".to_owned(),
            person: "ann".to_owned(),
            created,
            used: used.parse().unwrap(),
            expires: created + LIFE,
            body: "{}".to_owned(),
        };
        assert_eq!(lives(&row, now.parse().unwrap()), alive);
    }

    #[test]
    fn a_session_ends_when_it_rests_and_when_it_is_old() {
        let (begin, late) = ("2026-03-01T08:00:00Z", "2026-03-01T19:30:00Z");
        check(begin, begin, "2026-03-01T08:59:59Z", true);
        check(begin, begin, "2026-03-01T09:00:00Z", false);
        check(begin, late, "2026-03-01T19:59:59Z", true);
        check(begin, late, "2026-03-01T20:00:00Z", false);
    }
}
