//! `rolecall issuer check`: whether an account is set up so that tokens make a role.

use std::time::Duration;

use aws::{AskError, HostCredentials, Iam, IamSettings};
use clap::Args;
use cloud::Region;
use issuer::{Provider, Trust};
use serde::Serialize;

use crate::{
    Done, Failure,
    paper::{Output, show, table},
    trust::{Trusted, Whom},
};

/// How long one call of AWS may take.
const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// The region that AWS credentials are looked for in.
    #[arg(long, env = "AWS_REGION", hide_env_values = true, default_value = "us-east-1")]
    region: Region,
    /// Another address of IAM than AWS's own, for practice clouds.
    #[arg(long, value_name = "URL")]
    iam_endpoint: Option<String>,
}

/// What was found in an account.
#[derive(Debug, Serialize)]
struct Outcome {
    holds: bool,
    role: String,
    provider: String,
    findings: Vec<Found>,
}

/// Something that keeps tokens out, or lets others in.
#[derive(Debug, Serialize)]
struct Found {
    what: String,
    to_do: String,
}

impl Arguments {
    pub(crate) async fn execute(&self, issuer: &Trusted, output: Output) -> Result<Done, Failure> {
        let Whom { role, application, environment, .. } = &self.whom;
        let provider = self.whom.provider(issuer)?;
        let trust = Trust::new(&issuer.url, &provider, &issuer.audience, application, environment);
        let trust = trust.map_err(Failure::input)?;
        let iam = Iam::new(&IamSettings {
            partition: role.partition().clone(),
            region: self.region.clone(),
            endpoint: self.iam_endpoint.clone(),
            timeout: TIMEOUT,
            credentials: HostCredentials::DefaultChain { metadata_endpoint: None },
        })
        .await;
        let found = iam.provider(&provider).await.map_err(failure)?;
        let found = found.map(|found| Provider { url: found.url, client_ids: found.client_ids });
        let findings = match iam.role(role).await.map_err(failure)? {
            Some(has) => {
                let findings = trust.check(found.as_ref(), &has.policy);
                findings
                    .iter()
                    .map(|finding| Found { what: finding.to_string(), to_do: trust.fix(finding) })
                    .collect()
            }
            None => vec![Found {
                what: format!("the account of these credentials has no role `{role}`"),
                to_do: "use credentials of that account, or make the role as `rolecall issuer trust` prints it"
                    .to_owned(),
            }],
        };
        let holds = findings.is_empty();
        let (role, provider) = (role.to_string(), provider.to_string());
        show(output, &Outcome { holds, role, provider, findings }, tell)?;
        Ok(if holds { Done::Yes } else { Done::No })
    }
}

fn failure(error: AskError) -> Failure {
    match error {
        AskError::NoCredentials { .. } | AskError::Denied { .. } => Failure::Access(format!(
            "{error}; it needs iam:GetRole and iam:GetOpenIDConnectProvider in the role's account"
        )),
        other => Failure::World(other.to_string()),
    }
}

fn tell(outcome: &Outcome) -> String {
    if outcome.holds {
        return format!("tokens for the application make {}, and no others do", outcome.role);
    }
    let mut table = table(["what is wrong", "what to do"]);
    for found in &outcome.findings {
        table.add_row([&found.what, &found.to_do]);
    }
    table.to_string()
}
