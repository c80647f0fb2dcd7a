use std::{collections::BTreeSet, sync::Arc};

use secret::SecretBytes;

use crate::{
    Answer, Form, Note, Notes, PathClass, Step, Subject, Target, TokenLife,
    allow::guarded,
    answer::{Body, plain, token_ttl},
    decide::{Ask, Refusal},
    path::Version,
    request::{Method, Sent},
};

/// Instance metadata: session tokens, then the tree.
pub(crate) fn decide(
    ask: &Ask<'_>,
    notes: &mut Notes,
    left: &mut Option<u16>,
) -> (PathClass, Result<Step, Refusal>) {
    let route = Route::of(ask.target);
    (route.class(), step(ask, &route, notes, left))
}

/// The methods of `api/token`, as EC2 lists them.
pub(crate) const TOKEN_METHODS: &str = "OPTIONS, PUT";

fn step(
    ask: &Ask<'_>,
    route: &Route<'_>,
    notes: &mut Notes,
    left: &mut Option<u16>,
) -> Result<Step, Refusal> {
    ask.admit()?;
    if let Route::Token(version) = route {
        return token(ask, *version).map(Step::Answer);
    }
    if !ask.request.method.reads() {
        return Err(Refusal::Method("GET, HEAD"));
    }
    match ask.request.token {
        Sent::Once(token) => {
            let valid = ask.tokens.check(ask.subject.workload, token, ask.boot);
            *left = Some(valid.map_err(|_| Refusal::TokenInvalid)?);
        }
        Sent::Absent | Sent::Repeated => {
            notes.add(Note::V1);
            if !ask.subject.v1 {
                return Err(Refusal::TokenMissing);
            }
        }
    }
    serve(ask, route, *left)
}

fn token(ask: &Ask<'_>, version: Version) -> Result<Answer, Refusal> {
    match ask.request.method {
        Method::Put => {}
        Method::Options => {
            let headers = vec![("allow", TOKEN_METHODS.into()), ("server", "EC2ws".into())];
            return Ok(Answer { status: 204, headers, body: Body::Empty });
        }
        Method::Get | Method::Head | Method::Other => return Err(Refusal::TokenMethod),
    }
    if version != Version::Latest {
        return Err(Refusal::TokenVersion);
    }
    let life = ask.request.ttl.once().ok_or(Refusal::TokenLife)?;
    let life = TokenLife::parse(life).map_err(|_| Refusal::TokenLife)?;
    let token = ask.tokens.mint(ask.subject.workload, life, ask.boot, ask.random);
    let body = SecretBytes::new(token.expose().clone().into_bytes());
    let mut answer = plain(Body::Secret(Arc::new(body)), None);
    answer.headers.extend(token_ttl(Some(life.seconds())));
    Ok(answer)
}

/// Where a normalised path leads. Made without looking at who asks.
enum Route<'a> {
    Token(Version),
    Versions,
    RoleCredentials(&'a str),
    RoleName(&'a str),
    RoleInfo(&'a str),
    RoleOther(&'a str),
    IdentityDocument(&'a str),
    Guarded(&'a str),
    Below(&'a str),
    Unknown,
}

impl<'a> Route<'a> {
    fn of(target: &'a Target<'a>) -> Self {
        let Some((version, rest)) = target.versioned() else {
            return if target.path() == "/" { Self::Versions } else { Self::Unknown };
        };
        if let Some(below) = below(rest, "meta-data/iam") {
            return match below {
                "security-credentials" => Self::RoleName(rest),
                "info" => Self::RoleInfo(rest),
                _ => match below.strip_prefix("security-credentials/") {
                    Some(_) => Self::RoleCredentials(rest),
                    None => Self::RoleOther(rest),
                },
            };
        }
        match rest {
            "api/token" => Self::Token(version),
            "dynamic/instance-identity/document" => Self::IdentityDocument(rest),
            _ if guarded(rest).is_some() => Self::Guarded(rest),
            _ => Self::Below(rest),
        }
    }

    fn class(&self) -> PathClass {
        match self {
            Self::Token(_) => PathClass::Token,
            Self::Versions => PathClass::Listing,
            Self::RoleCredentials(_) => PathClass::RoleCredentials,
            Self::RoleName(_) => PathClass::RoleName,
            Self::RoleInfo(_) => PathClass::RoleInfo,
            Self::RoleOther(_) => PathClass::Role,
            Self::IdentityDocument(_) => PathClass::IdentityDocument,
            Self::Guarded(_) => PathClass::Guarded,
            Self::Below(rest) if is_directory(rest) => PathClass::Listing,
            Self::Below(rest) if crate::facts::is_leaf(rest) => PathClass::Fact,
            Self::Below(_) | Self::Unknown => PathClass::Other,
        }
    }
}

/// What of `rest` lies below `root`: empty for the root itself.
fn below<'a>(rest: &'a str, root: &str) -> Option<&'a str> {
    match rest.strip_prefix(root)? {
        "" => Some(""),
        more => more.strip_prefix('/'),
    }
}

fn serve(ask: &Ask<'_>, route: &Route<'_>, left: Option<u16>) -> Result<Step, Refusal> {
    let subject = ask.subject;
    let text = |text: String| Ok(Step::Answer(plain(Body::Text(text.into()), left)));
    match route {
        Route::Token(_) | Route::Unknown => Err(Refusal::Unknown),
        Route::Versions => Ok(Step::Answer(plain(Body::Text(VERSIONS.into()), left))),
        Route::RoleCredentials(rest)
        | Route::RoleName(rest)
        | Route::RoleInfo(rest)
        | Route::RoleOther(rest) => {
            let Some(role) = subject.role else {
                // The host's own role is lent by name alone, never because ours is missing.
                return host_or(ask, rest, Refusal::Unknown);
            };
            match route {
                Route::RoleCredentials(rest) => match rest.rsplit_once('/') {
                    Some((ROLES, name)) if name == role.name() => {
                        Ok(Step::Credentials(Form::Instance))
                    }
                    _ => Err(Refusal::WrongRole),
                },
                Route::RoleInfo(_) => Ok(Step::Credentials(Form::InstanceInfo)),
                Route::RoleName(_) => text(role.name().to_owned()),
                _ if *rest == "meta-data/iam" => text("info\nsecurity-credentials/".to_owned()),
                // `security-credentials-extended` among them: clients that ask for it first fall
                // back on 404 alone.
                _ => Err(Refusal::Unknown),
            }
        }
        Route::IdentityDocument(rest) => match subject.facts.identity_document() {
            Some(document) => text(document),
            None => host_or(ask, rest, Refusal::Unknown),
        },
        Route::Guarded(rest) => host_or(ask, rest, Refusal::Guarded),
        Route::Below(rest) => {
            if let Some(fact) = subject.facts.leaf(rest) {
                return text(fact.into_owned());
            }
            match listing(subject, rest) {
                Some(listing) => text(listing),
                None => host_or(ask, rest, Refusal::Unknown),
            }
        }
    }
}

fn host_or(ask: &Ask<'_>, rest: &str, refusal: Refusal) -> Result<Step, Refusal> {
    if ask.subject.allow.names(rest) { Ok(ask.host_path()) } else { Err(refusal) }
}

fn is_directory(rest: &str) -> bool {
    matches!(rest, "" | "dynamic" | "dynamic/instance-identity" | "meta-data")
        || crate::facts::is_directory(rest)
}

/// The entries of a directory, one per line, directories with a slash at their end. `None` where
/// nothing lies below.
fn listing(subject: &Subject<'_>, directory: &str) -> Option<String> {
    if directory.is_empty() {
        return Some("dynamic\nmeta-data\nuser-data".to_owned());
    }
    let mut entries = BTreeSet::new();
    let mut add = |path: &str, directory_itself: bool| {
        if let Some(more) = below(path, directory).filter(|more| !more.is_empty()) {
            entries.insert(match more.split_once('/') {
                Some((first, _)) => format!("{first}/"),
                None if directory_itself => format!("{more}/"),
                None => more.to_owned(),
            });
        }
    };
    subject.facts.leaves().for_each(|leaf| add(leaf, false));
    if subject.role.is_some() {
        add("meta-data/iam", true);
    }
    if subject.facts.identity_document().is_some() {
        add("dynamic/instance-identity/document", false);
    }
    for (path, directory_itself) in subject.allow.entries() {
        // With a role of our own nothing of the host's lies below `iam`.
        if subject.role.is_none() || below(path, "meta-data/iam").is_none() {
            add(path, directory_itself);
        }
    }
    let entries: Vec<String> = entries.into_iter().collect();
    (!entries.is_empty()).then(|| entries.join("\n"))
}

const ROLES: &str = "meta-data/iam/security-credentials";

/// The versions that EC2 lists.
const VERSIONS: &str = "1.0\n2007-01-19\n2007-03-01\n2007-08-29\n2007-10-10\n2007-12-15\n\
2008-02-01\n2008-09-01\n2009-04-04\n2011-01-01\n2011-05-01\n2012-01-12\n2014-02-25\n2014-11-05\n\
2015-10-20\n2016-04-19\n2016-06-30\n2016-09-02\n2018-03-28\n2018-08-17\n2018-09-24\n2019-10-01\n\
2020-10-27\n2021-01-03\n2021-03-23\nlatest";
