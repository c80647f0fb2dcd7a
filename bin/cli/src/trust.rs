//! What an application's account needs: the OIDC provider and a role's trust policy, in the language that the
//! account is kept in.

use clap::{Args, ValueEnum};
use cloud::RoleArn;
use issuer::IssuerUrl;
use serde_json::{Value, json};

use crate::{Failure, issuer::address};

/// The audience that AWS's own tools expect.
const AUDIENCE: &str = "sts.amazonaws.com";

/// The longest session of a role that is made here, in seconds: what a lease may live at most.
const SESSION_MAX_S: u32 = 12 * 60 * 60;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The role.
    #[arg(long)]
    role: RoleArn,
    /// The application that may become it.
    #[arg(long, visible_alias = "app")]
    application: String,
    /// In which environment.
    #[arg(long, visible_alias = "env")]
    environment: String,
    /// The audience of the tokens; what the issuer says where absent.
    #[arg(long)]
    audience: Option<String>,
    /// The issuer's address, to ask nobody.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    issuer: Option<String>,
    /// In which language.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
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

impl Arguments {
    /// Whether the issuer's address was typed.
    pub(crate) fn tells_issuer(&self) -> bool {
        self.issuer.is_some()
    }

    /// The document for the issuer whose address was typed.
    pub(crate) fn document_as_told(&self) -> Result<String, Failure> {
        let url = self.issuer.as_deref().unwrap_or_default();
        self.document(&address(url)?, None)
    }

    /// The document for the issuer at `url`.
    pub(crate) fn document(
        &self,
        url: &IssuerUrl,
        audience: Option<&str>,
    ) -> Result<String, Failure> {
        let audience = self.audience.as_deref().or(audience).unwrap_or(AUDIENCE);
        let provider = url.provider_arn(self.role.partition(), self.role.account());
        let provider = provider.map_err(Failure::input)?;
        let (application, environment) = (&self.application, &self.environment);
        let policy = issuer::trust_policy(url, &provider, audience, application, environment);
        let policy = policy.map_err(Failure::input)?;
        match self.format {
            Format::Json => Ok(policy),
            Format::Cloudformation => {
                let policy = serde_json::from_str(&policy).map_err(Failure::world)?;
                Ok(template(url, audience, &self.role, &policy))
            }
            Format::Terraform => Ok(hcl(url, audience, &self.role, &policy)),
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

    fn typed(role: &str, format: Format) -> Arguments {
        Arguments {
            role: role.parse().unwrap(),
            application: "orders".to_owned(),
            environment: "prod".to_owned(),
            audience: None,
            issuer: Some("https://oidc.example.com/rolecall".to_owned()),
            format,
        }
    }

    const ROLE: &str = "arn:aws:iam::111122223333:role/apps/orders";

    #[test]
    fn a_template_has_the_provider_and_the_role_with_the_policy_of_the_json_form() {
        let text = typed(ROLE, Format::Cloudformation).document_as_told().unwrap();
        let template: Value = serde_json::from_str(&text).unwrap();
        let provider = &template["Resources"]["RolecallIssuer"]["Properties"];
        assert_eq!(provider["Url"], "https://oidc.example.com/rolecall");
        assert_eq!(provider["ClientIdList"], json!(["sts.amazonaws.com"]));
        let role = &template["Resources"]["WorkloadRole"]["Properties"];
        assert_eq!((&role["RoleName"], &role["Path"]), (&json!("orders"), &json!("/apps/")));
        let policy = typed(ROLE, Format::Json).document_as_told().unwrap();
        let policy: Value = serde_json::from_str(&policy).unwrap();
        assert_eq!(role["AssumeRolePolicyDocument"], policy);
        assert_eq!(
            policy["Statement"][0]["Action"],
            json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"])
        );
    }

    #[test]
    fn the_policy_in_hcl_is_the_policy() {
        let text = typed(ROLE, Format::Terraform).document_as_told().unwrap();
        let (_, policy) = text.split_once("<<-POLICY\n").unwrap();
        let (policy, _) = policy.split_once("\n  POLICY").unwrap();
        let policy: Value = serde_json::from_str(policy).unwrap();
        let json = typed(ROLE, Format::Json).document_as_told().unwrap();
        assert_eq!(policy, serde_json::from_str::<Value>(&json).unwrap());
        assert!(text.contains("name                 = \"orders\"") && text.contains("\"/apps/\""));
    }
}
