//! What an application's account needs: the OIDC provider and a role's trust policy, in the language that the
//! account is kept in.

use clap::{Args, ValueEnum};
use cloud::{Arn, RoleArn};
use issuer::IssuerUrl;
use serde_json::{Value, json};

use crate::{Failure, issuer::address};

/// The audience that AWS's own tools expect.
const AUDIENCE: &str = "sts.amazonaws.com";

/// The longest session of a role that is made here, in seconds: what a lease may live at most.
const SESSION_MAX_S: u32 = 12 * 60 * 60;

/// Which role, for whose tokens.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// The role.
    #[arg(long)]
    pub(crate) role: RoleArn,
    /// The application that may become it.
    #[arg(long, visible_alias = "app")]
    pub(crate) application: String,
    /// In which environment.
    #[arg(long, visible_alias = "env")]
    pub(crate) environment: String,
    /// The audience of the tokens; what the issuer says where absent.
    #[arg(long)]
    audience: Option<String>,
    /// The issuer's address, to ask nobody for it.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    issuer: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// In which language.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

/// An issuer, as far as an account is concerned.
pub(crate) struct Trusted {
    pub(crate) url: IssuerUrl,
    pub(crate) audience: String,
}

/// The language of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The role's trust policy alone, as IAM takes it.
    Json,
    /// A template with the provider and the role.
    Cloudformation,
    /// The provider and the role, in HCL.
    Terraform,
}

impl Whom {
    /// Whether the issuer's address was typed.
    pub(crate) fn tells_issuer(&self) -> bool {
        self.issuer.is_some()
    }

    /// The issuer whose address was typed.
    pub(crate) fn told(&self) -> Result<Trusted, Failure> {
        let url = self.issuer.as_deref().unwrap_or_default();
        Ok(self.of(address(url)?, None))
    }

    /// The issuer at `url`, which names an audience or not.
    pub(crate) fn of(&self, url: IssuerUrl, audience: Option<&str>) -> Trusted {
        let audience = self.audience.as_deref().or(audience).unwrap_or(AUDIENCE).to_owned();
        Trusted { url, audience }
    }

    /// The ARN of the issuer's provider in the role's account.
    pub(crate) fn provider(&self, issuer: &Trusted) -> Result<Arn, Failure> {
        let provider = issuer.url.provider_arn(self.role.partition(), self.role.account());
        provider.map_err(Failure::input)
    }
}

impl Arguments {
    /// The document for an issuer.
    pub(crate) fn document(&self, issuer: &Trusted) -> Result<String, Failure> {
        let Whom { role, application, environment, .. } = &self.whom;
        let Trusted { url, audience } = issuer;
        let provider = self.whom.provider(issuer)?;
        let policy = issuer::trust_policy(url, &provider, audience, application, environment);
        let policy = policy.map_err(Failure::input)?;
        match self.format {
            Format::Json => Ok(policy),
            Format::Cloudformation => {
                let policy = serde_json::from_str(&policy).map_err(Failure::world)?;
                Ok(template(url, audience, role, &policy))
            }
            Format::Terraform => Ok(hcl(url, audience, role, &policy)),
        }
    }
}

fn template(url: &IssuerUrl, audience: &str, role: &RoleArn, policy: &Value) -> String {
    let document = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!("The role {} for workloads whose tokens {url} signs", role.name()),
        "Resources": {
            "RolecallIssuer": {
                "Type": "AWS::IAM::OIDCProvider",
                "Properties": { "Url": url.as_str(), "ClientIdList": [audience] },
            },
            "WorkloadRole": {
                "Type": "AWS::IAM::Role",
                "DependsOn": "RolecallIssuer",
                "Properties": {
                    "RoleName": role.name(),
                    "Path": role.path(),
                    "MaxSessionDuration": SESSION_MAX_S,
                    "AssumeRolePolicyDocument": policy,
                },
            },
        },
    });
    format!("{document:#}\n")
}

fn hcl(url: &IssuerUrl, audience: &str, role: &RoleArn, policy: &str) -> String {
    let quoted = |text: &str| Value::from(text).to_string().replace("${", "$${");
    format!(
        "resource \"aws_iam_openid_connect_provider\" \"rolecall\" {{
  url            = {url}
  client_id_list = [{audience}]
}}

resource \"aws_iam_role\" \"workload\" {{
  name                 = {name}
  path                 = {path}
  max_session_duration = {SESSION_MAX_S}
  depends_on           = [aws_iam_openid_connect_provider.rolecall]

  assume_role_policy = <<-POLICY
{policy}
  POLICY
}}
",
        url = quoted(url.as_str()),
        audience = quoted(audience),
        name = quoted(role.name()),
        path = quoted(role.path()),
        policy = indented(&policy.replace("${", "$${")),
    )
}

fn indented(text: &str) -> String {
    let lines = text.trim_end().lines().map(|line| format!("    {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(format: Format) -> String {
        let whom = Whom {
            role: ROLE.parse().unwrap(),
            application: "orders".to_owned(),
            environment: "prod".to_owned(),
            audience: None,
            issuer: Some("https://oidc.example.com/rolecall".to_owned()),
        };
        let issuer = whom.told().unwrap();
        Arguments { whom, format }.document(&issuer).unwrap()
    }

    const ROLE: &str = "arn:aws:iam::111122223333:role/apps/orders";

    #[test]
    fn a_template_has_the_provider_and_the_role_with_the_policy_of_the_json_form() {
        let text = typed(Format::Cloudformation);
        let template: Value = serde_json::from_str(&text).unwrap();
        let provider = &template["Resources"]["RolecallIssuer"]["Properties"];
        assert_eq!(provider["Url"], "https://oidc.example.com/rolecall");
        assert_eq!(provider["ClientIdList"], json!(["sts.amazonaws.com"]));
        let role = &template["Resources"]["WorkloadRole"]["Properties"];
        assert_eq!((&role["RoleName"], &role["Path"]), (&json!("orders"), &json!("/apps/")));
        let policy = typed(Format::Json);
        let policy: Value = serde_json::from_str(&policy).unwrap();
        assert_eq!(role["AssumeRolePolicyDocument"], policy);
        assert_eq!(
            policy["Statement"][0]["Action"],
            json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"])
        );
    }

    #[test]
    fn the_policy_in_hcl_is_the_policy() {
        let text = typed(Format::Terraform);
        let (_, policy) = text.split_once("<<-POLICY\n").unwrap();
        let (policy, _) = policy.split_once("\n  POLICY").unwrap();
        let policy: Value = serde_json::from_str(policy).unwrap();
        let json = typed(Format::Json);
        assert_eq!(policy, serde_json::from_str::<Value>(&json).unwrap());
        assert!(text.contains("name                 = \"orders\"") && text.contains("\"/apps/\""));
    }
}
