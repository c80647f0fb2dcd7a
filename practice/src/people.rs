//! People who sign in: a real OpenID provider on loopback, and a browser that walks its pages.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    program::{Invocation, ProgramError, Running},
    tools::{Missing, Tools},
};

/// How long the provider may take to come up.
const START: Duration = Duration::from_secs(60);
/// How long one page may take.
const PAGE: Duration = Duration::from_secs(30);
/// How many pages a sign-in may have.
const PAGES_MAX: usize = 20;
/// What this server is known as there.
pub const CLIENT: &str = "rolecall";
/// The secret that belongs to it.
pub const SECRET: &str = "practice-secret-of-the-client";

/// A provider that runs. Dropped, it ends.
#[derive(Debug)]
pub struct Provider {
    /// Its address.
    pub issuer: String,
    _running: Running,
    folder: PathBuf,
}

/// The provider, or a walk through its pages, went wrong.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// It is not installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// It did not start.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A file or a socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It said something else than was expected.
    #[error("the provider said at `{at}`: {said}")]
    Odd {
        /// Where.
        at: String,
        /// What it said.
        said: String,
    },
}

impl Provider {
    /// Starts a provider that sends people back to `redirect`. `people` are names, each with groups. What it needs
    /// is kept in `folder`.
    ///
    /// # Errors
    /// [`PeopleError`]: it is not installed, or did not come up.
    pub fn start(
        tools: &Tools,
        folder: impl Into<PathBuf>,
        redirect: &str,
        people: &[(&str, &[&str])],
    ) -> Result<Self, PeopleError> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        let people: BTreeMap<&str, Value> = people
            .iter()
            .map(|(name, groups)| {
                (*name, json!({ "email": format!("{name}@example.com"), "groups": groups }))
            })
            .collect();
        let client = json!({ "id": CLIENT, "secret": SECRET, "redirects": [redirect] });
        let plan = folder.join("people.json");
        fs::write(&plan, json!({ "client": client, "people": people }).to_string())?;
        let provider = Invocation::new(tools.node()?).arg(tools.openid_provider()?).arg(&plan);
        let mut running = provider.start()?;
        let line = running.line(START, |line| line.starts_with('{'))?;
        let said: Value = serde_json::from_str(&line).map_err(io::Error::from)?;
        let issuer = said.get("issuer").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { issuer, _running: running, folder })
    }

    /// The `[oidc]` part of a server's file that names this provider.
    ///
    /// # Errors
    /// Where the secret cannot be written.
    pub fn section(&self, redirect: &str) -> io::Result<String> {
        let secret = self.folder.join("client-secret");
        fs::write(&secret, format!("{SECRET}\n"))?;
        Ok(format!(
            "[oidc]\nissuer = {:?}\nclient_id = {CLIENT:?}\nclient_secret_file = {secret:?}\n\
             redirect_url = {redirect:?}\nallow_http = true\n",
            self.issuer
        ))
    }
}

/// A browser with its cookies. Each person has one of their own.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

/// A page, or where it sends one.
struct Page {
    location: Option<String>,
    text: String,
}

impl Browser {
    /// Signs in as `name` from `url` on, and agrees to all that is asked. Answers where the provider sends the
    /// browser at the end; `None` where it ends at a page of the provider's own, as devices do.
    ///
    /// # Errors
    /// [`PeopleError::Odd`] where the provider shows something else.
    pub fn sign_in(&mut self, url: &str, name: &str) -> Result<Option<String>, PeopleError> {
        self.walk(url, |form| match form {
            "login" => Some(name.to_owned()),
            "password" => Some("any".to_owned()),
            _ => None,
        })
    }

    /// Goes to `url` and cancels. Answers where the provider sends the browser then.
    ///
    /// # Errors
    /// [`PeopleError::Odd`] where the provider shows something else.
    pub fn cancel(&mut self, url: &str) -> Result<Option<String>, PeopleError> {
        let issuer = origin(url).to_owned();
        let mut page = self.get(url)?;
        while let Some(next) = page.location.take() {
            page = self.get(&absolute(&issuer, &next))?;
        }
        let links = page.text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let abort = links.map(decoded).find(|link| link.ends_with("/abort"));
        let abort = abort.ok_or_else(|| odd(url, &page.text))?;
        self.walk(&absolute(&issuer, &abort), |_| None)
    }

    fn walk(
        &mut self,
        url: &str,
        fill: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, PeopleError> {
        let issuer = origin(url).to_owned();
        let mut page = self.get(url)?;
        for _ in 0..PAGES_MAX {
            if let Some(next) = page.location.take() {
                let next = absolute(&issuer, &next);
                if origin(&next) != issuer {
                    return Ok(Some(next));
                }
                page = self.get(&next)?;
                continue;
            }
            let Some((action, mut fields)) = form(&page.text) else { return Ok(None) };
            for (name, value) in &mut fields {
                if let Some(filled) = fill(name) {
                    *value = filled;
                }
            }
            page = self.post(&absolute(&issuer, &action), &fields)?;
        }
        Err(odd(url, "more pages than a sign-in has"))
    }

    fn get(&mut self, url: &str) -> Result<Page, PeopleError> {
        self.ask("GET", url, "")
    }

    fn post(&mut self, url: &str, fields: &[(String, String)]) -> Result<Page, PeopleError> {
        let pairs =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        self.ask("POST", url, &body)
    }

    fn ask(&mut self, method: &str, url: &str, body: &str) -> Result<Page, PeopleError> {
        let host = origin(url).trim_start_matches("http://");
        let path = url.get(origin(url).len()..).filter(|path| !path.is_empty()).unwrap_or("/");
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(PAGE))?;
        // Of HTTP/1.0 a peer makes no use of pieces: what comes until the end is the page.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nhost: {host}\r\ncookie: {cookies}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        let (head, text) = said.split_once("\r\n\r\n").ok_or_else(|| odd(url, &said))?;
        let mut location = None;
        for line in head.lines().skip(1) {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if name.eq_ignore_ascii_case("location") {
                location = Some(value.to_owned());
            }
            if name.eq_ignore_ascii_case("set-cookie") {
                self.keep(value);
            }
        }
        let status = head.split(' ').nth(1).unwrap_or_default();
        if location.is_none() && !status.starts_with('2') {
            return Err(odd(url, &said));
        }
        Ok(Page { location, text: text.to_owned() })
    }

    fn keep(&mut self, cookie: &str) {
        let pair = cookie.split(';').next().unwrap_or_default();
        let Some((name, value)) = pair.split_once('=') else { return };
        if value.is_empty() {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

fn odd(at: &str, said: &str) -> PeopleError {
    PeopleError::Odd { at: at.to_owned(), said: said.chars().take(2000).collect() }
}

/// `http://host:port` of an address.
fn origin(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(after..).and_then(|rest| rest.find(['/', '?'])).map(|at| after + at);
    url.get(..end.unwrap_or(url.len())).unwrap_or(url)
}

fn absolute(origin: &str, location: &str) -> String {
    if location.starts_with('/') { format!("{origin}{location}") } else { location.to_owned() }
}

/// The first form of a page: where it goes, and its fields as they are filled in already.
fn form(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let start = text.find("<form")?;
    let rest = text.get(start..)?;
    let rest = rest.get(..rest.find("</form>").unwrap_or(rest.len()))?;
    let action = attribute(rest.get(..rest.find('>')?)?, "action")?;
    let inputs =
        rest.split("<input").skip(1).map(|input| input.split('>').next().unwrap_or_default());
    let fields = inputs.filter_map(|input| {
        Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default()))
    });
    Some((action, fields.collect()))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.get(tag.find(&format!(" {name}=\""))? + name.len() + 3..)?;
    rest.get(..rest.find('"')?).map(decoded)
}

fn decoded(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_what_is_filled_in() {
        let text = "<p><form a action=\"/x?a=1&amp;b=2\" method=\"post\">\n<input type=\"hidden\" name=\"prompt\" \
                    value=\"login\"/><input required type=\"text\" name=\"login\" ></form><form action=\"/y\">";
        let (action, fields) = form(text).unwrap();
        assert_eq!(action, "/x?a=1&b=2");
        let expected = [("prompt", "login"), ("login", "")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(form("<p>done"), None);
    }

    #[test]
    fn an_address_has_an_origin() {
        assert_eq!(origin("http://127.0.0.1:80/a?b"), "http://127.0.0.1:80");
        assert_eq!(origin("https://example.com?b"), "https://example.com");
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
    }
}
