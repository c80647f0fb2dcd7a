//! An STS without a network: it looks at what it is asked as AWS does, remembers whom it issued
//! what, and misbehaves as the weather says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use agent::fetch::Question;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credentials::{FetchError, SessionName, SourceIdentity, policy::LIFE_MIN};
use issuer::Subject;
use jiff::{SignedDuration, Timestamp};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;
use workload::Workload;

use crate::{
    Weather,
    random::Random,
    town::{AUDIENCE, ISSUER},
};

/// How far off a signed request's time may be.
const SIGNATURE_TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// Credentials, and whose they are.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: String,
    /// The id of the workload that they are for.
    pub(crate) workload: String,
    /// The role's ARN.
    pub(crate) role: String,
    /// When they end, in simulated time.
    pub(crate) end: Duration,
    /// The same if the whole life that was asked for had been granted.
    pub(crate) end_requested: Duration,
    /// When STS says that they end.
    pub(crate) printed: Timestamp,
}

/// What becomes of a call.
#[derive(Debug)]
pub(crate) struct Reply {
    /// How long it takes.
    pub(crate) after: Duration,
    /// The place of what was issued.
    pub(crate) result: Result<usize, FetchError>,
    pub(crate) told: Told,
    /// A part of the answer is missing.
    pub(crate) hollow: bool,
}

/// How often the agent's edge reports the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Once,
    Twice,
    Never,
    /// Even if it was given up in the meantime.
    Stubbornly,
}

/// The simulated STS.
#[derive(Debug)]
pub(crate) struct Sts {
    pub(crate) down: bool,
    pub(crate) calls: u64,
    issued: Vec<Issued>,
    /// Every text that was ever issued, and the place of what it is a part of.
    texts: BTreeMap<String, usize>,
    public_key: Vec<u8>,
}

/// Each issued text begins with one of these and has this many bytes, so that it is found wherever
/// it stands.
const MARKS: [(&str, usize); 3] = [("ASIASIM", 20), ("simSecret/", 40), ("simToken//", 120)];

impl Sts {
    /// Knows the issuer by its JWKS document.
    pub(crate) fn new(jwks: &str) -> Self {
        let jwks: Value = serde_json::from_str(jwks).unwrap_or_default();
        let member = |name: &str| {
            let text = jwks.pointer(&format!("/keys/0/{name}")).and_then(Value::as_str);
            text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default()
        };
        let public_key = [vec![4], member("x"), member("y")].concat();
        Self { down: false, calls: 0, issued: Vec::new(), texts: BTreeMap::new(), public_key }
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Issued> {
        self.issued.get(place)
    }

    /// The agent cannot know that less was granted, because its wall clock was wrong as well.
    pub(crate) fn hide_short_life(&mut self, place: usize) {
        if let Some(issued) = self.issued.get_mut(place) {
            issued.end = issued.end_requested;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.issued.len()).unwrap_or(u64::MAX)
    }

    /// Everything issued of which a text stands in `text`; `None` for a text that looks issued and
    /// is not.
    pub(crate) fn found_in(&self, text: &str) -> BTreeSet<Option<usize>> {
        let mut found = BTreeSet::new();
        for (mark, length) in MARKS {
            for (at, _) in text.match_indices(mark) {
                let whole = text.get(at..at + length);
                found.insert(whole.and_then(|whole| self.texts.get(whole)).copied());
            }
        }
        found
    }

    /// Whether a question speaks in the name of the workload that it is for; else what is wrong.
    pub(crate) fn check_name(
        &self,
        question: &Question,
        workload: &Workload,
    ) -> Result<(), String> {
        let Workload { application, environment, instance } = workload;
        let name = SourceIdentity::of(workload);
        let session = SessionName::of(workload);
        let same = |what: &str, has: &str, wants: &str| {
            if has == wants { Ok(()) } else { Err(format!("{what} is `{has}`, not `{wants}`")) }
        };
        match question {
            Question::AssumeRole(ask) => {
                same("session name", &ask.session_name, session.as_str())?;
                let identity = ask.source_identity.as_deref().unwrap_or_default();
                same("source identity", identity, name.as_str())
            }
            Question::WebIdentity(ask) => {
                same("session name", &ask.session_name, session.as_str())?;
                let claims = self.claims(ask.token.expose()).ok_or("the signature is wrong")?;
                let claim = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or("");
                let subject =
                    Subject::new(application.as_str(), environment.as_str(), instance.as_str());
                let subject = subject.map_err(|error| error.to_string())?;
                same("subject", claim("sub"), subject.as_str())?;
                same("issuer", claim("iss"), ISSUER)?;
                same("audience", claim("aud"), AUDIENCE)?;
                let identity = claim("https://aws.amazon.com/source_identity");
                same("source identity", identity, name.as_str())
            }
        }
    }

    /// The claims of a token that the issuer signed.
    fn claims(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (_, claims) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public_key);
        key.verify(signed.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    /// Whether the times in a question are right by this clock, which is `offset` behind the
    /// host's.
    fn check_times(
        &self,
        question: &Question,
        wall: Timestamp,
        offset: SignedDuration,
    ) -> Result<(), FetchError> {
        let by_our_clock = "by our clock";
        let skewed = |code: &str| Err(FetchError::Clock(format!("{code}: {by_our_clock}")));
        match question {
            Question::AssumeRole(_) if offset.abs() > SIGNATURE_TOLERANCE => {
                skewed("SignatureDoesNotMatch")
            }
            Question::AssumeRole(_) => Ok(()),
            Question::WebIdentity(ask) => {
                let claims = self.claims(ask.token.expose()).unwrap_or_default();
                let time = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or(0);
                if time("nbf") > wall.as_second() {
                    let (code, message) = ("InvalidIdentityToken".into(), by_our_clock.into());
                    return Err(FetchError::Denied { code, message });
                }
                if time("exp") <= wall.as_second() {
                    return skewed("ExpiredTokenException");
                }
                Ok(())
            }
        }
    }

    /// Answers a question about `role` that is asked for `workload` at `now`: simulated time, and
    /// this clock's wall time.
    pub(crate) fn ask(
        &mut self,
        question: &Question,
        (workload, role, requested): (&str, &str, Duration),
        (time, wall, offset): (Duration, Timestamp, SignedDuration),
        weather: &Weather,
        random: &mut Random,
    ) -> Reply {
        self.calls += 1;
        let mut reply = Reply {
            after: random.wait(weather.latency),
            result: Err(FetchError::Throttled),
            told: Told::Once,
            hollow: false,
        };
        if self.down {
            // Refused at once, or swallowed.
            if random.chance(500) {
                reply.after = Duration::from_secs(60);
            }
            reply.result = Err(FetchError::Unavailable("no connection".to_owned()));
            return reply;
        }
        if random.chance(weather.throttled) {
            return reply;
        }
        if random.chance(weather.denied) {
            let (code, message) = ("AccessDenied".to_owned(), "not authorized".to_owned());
            reply.result = Err(match question {
                Question::AssumeRole(_) => FetchError::HostDenied { code, message },
                Question::WebIdentity(_) => FetchError::Denied { code, message },
            });
            return reply;
        }
        if let Err(error) = self.check_times(question, wall, offset) {
            reply.result = Err(error);
            return reply;
        }
        let short = offset.is_zero() && random.chance(weather.short);
        let granted = if short { requested.min(LIFE_MIN) } else { requested };
        let mut printed = wall.checked_add(granted).unwrap_or(wall);
        if !short && random.chance(weather.misdated) {
            let off = SignedDuration::from_secs(-86_400)
                + random.wait((0, 172_800_000)).try_into().unwrap_or_default();
            printed = printed.checked_add(off).unwrap_or(printed);
        }
        let whose = (workload.to_owned(), role.to_owned());
        let ends = (time + granted, time + requested);
        reply.result = Ok(self.issue(whose, ends, printed, random));
        reply.hollow = random.chance(weather.hollow);
        if random.chance(weather.lost) {
            reply.after = Duration::from_secs(60);
        } else if random.chance(weather.late) {
            reply.after = random.wait((5_000, 30_000));
            reply.told = if random.chance(500) { Told::Stubbornly } else { Told::Once };
        } else if random.chance(weather.silent) {
            reply.told = Told::Never;
        } else if random.chance(weather.doubled) {
            reply.told = Told::Twice;
        }
        reply
    }

    fn issue(
        &mut self,
        (workload, role): (String, String),
        (end, end_requested): (Duration, Duration),
        printed: Timestamp,
        random: &mut Random,
    ) -> usize {
        let place = self.issued.len();
        let [access_key_id, secret_access_key, session_token] = MARKS.map(|(mark, length)| {
            let mut text = format!("{mark}{place:06}X");
            while text.len() < length {
                let letter = u32::try_from(random.below(32)).ok();
                text.extend(letter.and_then(|letter| char::from_digit(letter, 32)));
            }
            text.to_owned()
        });
        for text in [&access_key_id, &secret_access_key, &session_token] {
            self.texts.insert(text.clone(), place);
        }
        self.issued.push(Issued {
            access_key_id,
            secret_access_key,
            session_token,
            workload,
            role,
            end,
            end_requested,
            printed,
        });
        place
    }
}
