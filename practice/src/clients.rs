//! Unchanged programs with the real AWS SDKs.
//!
//! Each asks STS who it is and, where it is told a bucket, writes and reads one object; then it
//! prints one line of JSON. Where its credentials come from is left to the SDK's default chain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs, io};

use serde::{Deserialize, Serialize};

use crate::program::{Finished, Invocation, ProgramError, Running};
use crate::tools::{Missing, Tools};

/// One client program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// boto3.
    Python,
    /// The AWS CLI.
    Cli,
    /// SDK for Java v2.
    Java,
    /// SDK for JavaScript v3.
    Js,
    /// SDK for Go v2.
    Go,
    /// SDK for Rust.
    Rust,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Python, Self::Cli, Self::Java, Self::Js, Self::Go, Self::Rust];

    /// Its short name, which is also in its answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Cli => "cli",
            Self::Java => "java",
            Self::Js => "js",
            Self::Go => "go",
            Self::Rust => "rust",
        }
    }

    /// Runs it once, where `place` puts it, and returns what it found out.
    ///
    /// # Errors
    /// [`ClientError`]: the tool is missing, it ended with an error of its SDK, took longer than
    /// `limit`, or said something else than was agreed.
    pub fn run(
        self,
        tools: &Tools,
        errand: &Errand,
        place: &dyn Fn(Invocation) -> Invocation,
        limit: Duration,
    ) -> Result<Answer, ClientError> {
        if self == Self::Cli {
            return cli(tools, errand, place, limit);
        }
        let finished = place(self.invocation(tools, errand)?).run(limit)?.success()?;
        Answer::parse(finished.stdout.trim_end())
    }

    /// Starts it so that it asks `repeat` times with the one provider that it has, `every` so often;
    /// [`Running::line`] and [`Answer::parse`] give its answers. It ends with the first error.
    ///
    /// # Errors
    /// As [`Client::run`]; the CLI cannot do it, since each of its runs is a process of its own.
    pub fn start(
        self,
        tools: &Tools,
        errand: &Errand,
        place: &dyn Fn(Invocation) -> Invocation,
        repeat: u32,
        every: Duration,
    ) -> Result<Running, ClientError> {
        let invocation = self.invocation(tools, errand)?.args(["--repeat", &repeat.to_string()]);
        Ok(place(invocation.args(["--every", &every.as_millis().to_string()])).start()?)
    }

    fn invocation(self, tools: &Tools, errand: &Errand) -> Result<Invocation, ClientError> {
        let sources = tools.sources().join("clients");
        let invocation = match self {
            Self::Python => Invocation::new(tools.python()?)
                .arg(sources.join("python/client.py"))
                .env("PYTHONDONTWRITEBYTECODE", "1"),
            Self::Js => Invocation::new(tools.node()?).arg("--no-warnings").arg(tools.js_client()?),
            Self::Go => Invocation::new(tools.go_client()?),
            Self::Rust => Invocation::new(tools.rust_client()?),
            // The flags are for a start that is as short as the JVM can make it.
            Self::Java => Invocation::new(tools.java()?)
                .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp"])
                .arg(tools.java_client()?)
                .arg("practice.Client"),
            Self::Cli => return Err(ClientError::OneShot),
        };
        Ok(errand.dress(invocation))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a client is told: nothing about credentials, unless a door needs variables of its own.
#[derive(Clone, Debug)]
pub struct Errand {
    endpoint: String,
    region: String,
    bucket: Option<String>,
    home: PathBuf,
    more: BTreeMap<String, String>,
}

impl Errand {
    /// Goes to the cloud at `endpoint`, with an empty home folder that is made below `folder`.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn new(endpoint: &str, region: &str, folder: &Path) -> io::Result<Self> {
        let home = folder.join("home");
        fs::create_dir_all(&home)?;
        Ok(Self {
            endpoint: endpoint.to_owned(),
            region: region.to_owned(),
            bucket: None,
            home,
            more: BTreeMap::new(),
        })
    }

    /// Writes and reads an object in `bucket`. The Rust client does not.
    #[must_use]
    pub fn bucket(mut self, bucket: &str) -> Self {
        self.bucket = Some(bucket.to_owned());
        self
    }

    /// Sets one more variable, such as those of the container doors.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.more.insert(name.to_owned(), value.to_owned());
        self
    }

    fn dress(&self, invocation: Invocation) -> Invocation {
        let invocation = invocation
            .env("HOME", &self.home)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_REGION", &self.region)
            // botocore knows this name alone.
            .env("AWS_DEFAULT_REGION", &self.region)
            .envs(&self.more)
            .folder(&self.home);
        match &self.bucket {
            Some(bucket) => invocation.env("BUCKET", bucket),
            None => invocation,
        }
    }
}

/// What a client found out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Answer {
    /// Its short name.
    pub client: String,
    /// The account it is in.
    pub account: String,
    /// Who it is there.
    pub arn: String,
    /// Its access key id; the CLI does not tell.
    pub access_key_id: Option<String>,
    /// The bucket that it used.
    pub bucket: Option<String>,
    /// The object that it wrote and read back.
    pub object: Option<String>,
}

impl Answer {
    /// Reads a client's line.
    ///
    /// # Errors
    /// [`ClientError::Words`] where it is another line.
    pub fn parse(line: &str) -> Result<Self, ClientError> {
        serde_json::from_str(line)
            .map_err(|source| ClientError::Words { line: line.to_owned(), source })
    }
}

/// Why a client has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Something must be installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// It failed; its SDK's own words are in here.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// It printed something else than one answer.
    #[error("this is not a client's answer: `{line}`")]
    Words {
        /// What it printed.
        line: String,
        /// Why it is not.
        source: serde_json::Error,
    },
    /// It read back something else than it wrote.
    #[error("the object `{object}` in `{bucket}` is not what was written")]
    Changed {
        /// The bucket.
        bucket: String,
        /// The object.
        object: String,
    },
    /// The CLI asks once and ends.
    #[error("the AWS CLI cannot ask repeatedly with one provider: use another client")]
    OneShot,
    /// A file for the CLI could not be used.
    #[error("could not use a file in the client's home folder")]
    Files(#[from] io::Error),
}

/// The CLI as a person uses it: who am I, copy there, copy back. One process each.
fn cli(
    tools: &Tools,
    errand: &Errand,
    place: &dyn Fn(Invocation) -> Invocation,
    limit: Duration,
) -> Result<Answer, ClientError> {
    let until = Instant::now() + limit;
    let aws = tools.aws()?;
    let run = |arguments: &[&str]| -> Result<Finished, ProgramError> {
        let invocation = Invocation::new(&aws).args(arguments.iter().copied()).env("AWS_PAGER", "");
        let left = until.saturating_duration_since(Instant::now());
        place(errand.dress(invocation)).run(left)?.success()
    };
    let said = run(&["sts", "get-caller-identity", "--output", "json"])?.stdout;
    let caller: Caller =
        serde_json::from_str(&said).map_err(|source| ClientError::Words { line: said, source })?;
    if let Some(bucket) = &errand.bucket {
        let (written, read) = (errand.home.join("written.txt"), errand.home.join("read.txt"));
        fs::write(&written, &caller.arn)?;
        let there = format!("s3://{bucket}/{CLI_OBJECT}");
        run(&["s3", "cp", "--only-show-errors", &written.to_string_lossy(), &there])?;
        run(&["s3", "cp", "--only-show-errors", &there, &read.to_string_lossy()])?;
        if fs::read(&read)? != caller.arn.as_bytes() {
            return Err(ClientError::Changed {
                bucket: bucket.clone(),
                object: CLI_OBJECT.to_owned(),
            });
        }
    }
    Ok(Answer {
        client: Client::Cli.name().to_owned(),
        account: caller.account,
        arn: caller.arn,
        access_key_id: None,
        object: errand.bucket.as_ref().map(|_| CLI_OBJECT.to_owned()),
        bucket: errand.bucket.clone(),
    })
}

/// What `aws sts get-caller-identity` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Caller {
    account: String,
    arn: String,
}

const CLI_OBJECT: &str = "practice/cli.txt";
