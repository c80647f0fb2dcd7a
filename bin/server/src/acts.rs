//! What the server does, endpoint by endpoint.
//!
//! Each act looks, records and changes within one transaction, and only with a permit: so there is neither
//! an act that nobody was allowed, nor one that nobody recorded.

pub mod agents;
pub mod applications;
pub mod bindings;
pub mod explain;
pub mod groups;
pub mod hosts;
pub mod issuer;
pub mod joining;
pub mod ledger;
pub mod switch;
pub mod workloads;

use std::collections::BTreeMap;

use api::{Label, Problem, hosts::LABELS_MAX};
use workload::{Application, Environment};

use crate::{
    http::Routes, knowledge::Knowledge, permit::Acting, policies::Resource, server::Server,
};

/// Ends an act, and lets this replica know at once what it changed.
///
/// # Errors
/// When the act was not done, or nobody knows whether it was.
pub async fn commit(server: &Server, act: Acting) -> Result<u64, Problem> {
    let revision = act.commit().await?;
    // Where this fails, the replica notices a moment later by itself.
    let _ = server.refresher.refresh().await;
    Ok(revision)
}

/// An application as policies see it.
pub fn resource(
    knowledge: &Knowledge,
    application: &Application,
    environment: Option<&Environment>,
) -> Resource {
    let known = knowledge.application(application);
    Resource::Application {
        application: application.to_string(),
        environment: environment.map(ToString::to_string),
        owner: known.map(|known| known.owner.to_string()),
        tier: known.map(|known| known.tier.get()),
    }
}

/// Refuses labels that are too many, or are no short lines.
///
/// # Errors
/// Names the label.
pub fn check_labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), Problem> {
    if labels.len() > LABELS_MAX {
        let many = format!("at most {LABELS_MAX}, not {}", labels.len());
        return Err(Problem::invalid("there are too many labels").with_field(field, many));
    }
    for (name, value) in labels {
        let fits = name.parse::<Label>().and_then(|_| value.parse::<Label>());
        fits.map_err(|error| {
            let field = format!("{field}.{name}");
            Problem::invalid("a label cannot be kept").with_field(field, error.to_string())
        })?;
    }
    Ok(())
}

/// What answers the endpoints of this module.
pub fn routes(routes: Routes) -> Routes {
    routes
        .open::<api::agents::Join>(agents::join)
        .open::<api::agents::MakeNonce>(agents::make_nonce)
        .open::<api::agents::JoinAws>(agents::join_aws)
        .agent::<api::agents::Renew>(agents::renew)
        .agent::<api::agents::SendReport>(agents::report)
        .agent::<api::agents::ReadOrders>(agents::orders)
        .agent::<api::agents::MintToken>(agents::mint)
        .person::<api::applications::ListApplications>(applications::list)
        .person::<api::applications::ReadApplication>(applications::read)
        .person::<api::applications::PutApplication>(applications::put)
        .person::<api::applications::ListAccounts>(applications::list_accounts)
        .person::<api::applications::PutAccount>(applications::put_account)
        .person::<api::hosts::ListHosts>(hosts::list)
        .person::<api::hosts::ReadHost>(hosts::read)
        .person::<api::hosts::RevokeHost>(hosts::revoke)
        .person::<api::hosts::ListGroups>(groups::list)
        .person::<api::hosts::PutGroup>(groups::put)
        .person::<api::hosts::DeleteGroup>(groups::delete)
        .person::<api::joining::MakeJoinToken>(joining::make_token)
        .person::<api::joining::ListJoinTokens>(joining::list_tokens)
        .person::<api::joining::RevokeJoinToken>(joining::revoke_token)
        .person::<api::joining::ListJoinRules>(joining::list_rules)
        .person::<api::joining::PutJoinRule>(joining::put_rule)
        .person::<api::joining::DeleteJoinRule>(joining::delete_rule)
        .person::<api::workloads::ListWorkloads>(workloads::list)
        .person::<api::bindings::ListBindings>(bindings::list)
        .person::<api::bindings::ProposeBinding>(bindings::propose)
        .person::<api::bindings::ReadBinding>(bindings::read)
        .person::<api::bindings::ReviewBinding>(bindings::review)
        .person::<api::bindings::WithdrawBinding>(bindings::withdraw)
        .person::<api::bindings::DryRunBinding>(bindings::dry_run)
        .person::<api::switch::ListPositions>(switch::list)
        .person::<api::switch::SetPosition>(switch::set)
        .person::<api::switch::DryRunPosition>(switch::dry_run)
        .person::<api::switch::ClearPosition>(switch::clear)
        .person::<api::switch::ReadSwitchStatus>(switch::status)
        .person::<api::issuer::ReadIssuer>(issuer::read)
        .person::<api::issuer::AddIssuerKey>(issuer::add_key)
        .person::<api::issuer::RotateIssuer>(issuer::rotate)
        .person::<api::issuer::RetireIssuerKey>(issuer::retire)
        .person::<api::ledger::ReadLedger>(ledger::read)
        .person::<api::ledger::ListCheckpoints>(ledger::checkpoints)
        .person::<api::ledger::MakeCheckpoint>(ledger::make_checkpoint)
        .person::<api::ledger::ReadLedgerKey>(ledger::keys)
        .person::<api::explain::Explain>(explain::explain)
}

#[cfg(test)]
mod tests;
