//! The views: what a question may rely on. Their columns are a contract; files and OCSF behind them are not.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    common::{TableReference, plan_err},
    datasource::ViewTable,
    error::DataFusionError,
    execution::context::SessionContext,
};
use jiff::Timestamp;

use crate::piece::Dataset;

/// A view, with what it says and what its columns mean.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// What one row of it is.
    pub about: &'static str,
    /// Its columns in order, each with what it means.
    pub columns: &'static [(&'static str, &'static str)],
    /// Views that it is made from. They stand before it in [`views`].
    leans_on: &'static [&'static str],
    sql: &'static str,
}

/// Every view, those before that others are made from.
pub fn views() -> &'static [View] {
    VIEWS
}

/// The table of the files of a dataset.
pub(super) fn files_of(dataset: Dataset) -> &'static str {
    match dataset {
        Dataset::Calls => "ocsf_calls",
        Dataset::Leases => "lease_files",
        Dataset::Shims => "shim_files",
        Dataset::Coverage => "coverage_files",
    }
}

/// Makes the views that a question names, and those that they are made from. To plan all for every question would
/// cost more than most questions do.
pub(super) async fn register(
    context: &SessionContext,
    asked: &[TableReference],
    now: Timestamp,
) -> Result<(), DataFusionError> {
    for table in asked {
        let name = table.table();
        let files = Dataset::ALL.map(files_of);
        if !files.contains(&name) && !VIEWS.iter().any(|view| view.name == name) {
            let all: Vec<_> = VIEWS.iter().map(|view| view.name).chain(files).collect();
            return plan_err!("there is no `{name}` here: there are {}", all.join(", "));
        }
    }
    let mut wanted: BTreeSet<&str> = asked.iter().map(TableReference::table).collect();
    // A view stands behind those that it leans on, so one look backwards finds all.
    for view in VIEWS.iter().rev() {
        if wanted.contains(view.name) {
            wanted.extend(view.leans_on);
        }
    }
    let now = format!("arrow_cast('{now}', 'Timestamp(Microsecond, Some(\"UTC\"))')");
    for view in VIEWS.iter().filter(|it| wanted.contains(it.name)) {
        let sql = view.sql.replace("{now}", &now);
        let plan = context.state().create_logical_plan(&sql).await?;
        context.register_table(view.name, Arc::new(ViewTable::new(plan, None)))?;
    }
    Ok(())
}

const VIEWS: &[View] = &[
    View {
        name: "calls",
        about: "Equal calls of one workload that were seen together.",
        columns: CALLS,
        leans_on: &[],
        sql: include_str!("../views/calls.sql"),
    },
    View {
        name: "needs",
        about: "An IAM action that calls needed, on one resource. Calls that need no action are not here.",
        columns: NEEDS,
        leans_on: &[],
        sql: include_str!("../views/needs.sql"),
    },
    View {
        name: "leases",
        about: "A lease that was fetched.",
        columns: LEASES,
        leans_on: &[],
        sql: include_str!("../views/leases.sql"),
    },
    View {
        name: "shims",
        about: "A process in which a shim began to speak.",
        columns: SHIMS,
        leans_on: &[],
        sql: include_str!("../views/shims.sql"),
    },
    View {
        name: "coverage",
        about: "What was sent to one agent on one day, and what became of it.",
        columns: COVERAGE,
        leans_on: &[],
        sql: include_str!("../views/coverage.sql"),
    },
    View {
        name: "role_resources",
        about: "What a role was used on.",
        columns: ROLE_RESOURCES,
        leans_on: &["needs"],
        sql: include_str!("../views/role_resources.sql"),
    },
    View {
        name: "resource_roles",
        about: "Who used a resource.",
        columns: RESOURCE_ROLES,
        leans_on: &["needs"],
        sql: include_str!("../views/resource_roles.sql"),
    },
    View {
        name: "app_dependencies",
        about: "A resource that an application uses, and the applications whose account it is in. Actions that take no resource are not here.",
        columns: APP_DEPENDENCIES,
        leans_on: &["needs", "leases"],
        sql: include_str!("../views/app_dependencies.sql"),
    },
    View {
        name: "last_used",
        about: "When a role last used an action on a resource. Calls that were denied or not authenticated are no use; all others may be.",
        columns: LAST_USED,
        leans_on: &["needs"],
        sql: include_str!("../views/last_used.sql"),
    },
    View {
        name: "denied_now",
        about: "Calls that were denied within 24 hours, and not done since by the same role.",
        columns: DENIED_NOW,
        leans_on: &["calls"],
        sql: include_str!("../views/denied_now.sql"),
    },
    View {
        name: "new_this_week",
        about: "An action on a resource that a role was first seen to need within 7 days. Where `history_from` is within them too, all is new.",
        columns: NEW_THIS_WEEK,
        leans_on: &["needs"],
        sql: include_str!("../views/new_this_week.sql"),
    },
];

type Columns = &'static [(&'static str, &'static str)];

const CALLS: Columns = &[
    ("time", "when the first of them began, by the sender's clock"),
    ("last", "when the last of them began"),
    ("account", "the caller's account: of its role, else as its access key tells it"),
    ("region", "the region that was called"),
    ("service", "the service, as its model names it: `DynamoDB`"),
    ("operation", "the operation: `GetItem`"),
    (
        "outcome",
        "`done`, `denied`, `throttled`, `unauthenticated`, `failed`, `unanswered`, `presigned` or `unknown`",
    ),
    ("error", "the error code or exception of one of them"),
    ("count", "how many calls"),
    ("application", "what the caller is an instance of"),
    ("environment", "where it runs: `prod`"),
    ("instance", "which one it is"),
    ("workload", "the three together: `application/environment/instance`"),
    ("role", "the ARN of the role that the access key was leased for"),
    ("access_key", "the id of the access key; CSM does not tell it"),
    ("signer", "whose key it was: `leased` by us, `foreign`, or `unknown`"),
    (
        "leased_to",
        "the workload that the key was leased to; where it is not `workload`, the lease has been passed on",
    ),
    (
        "trust",
        "what the word is worth: `shim`, or `monitoring`, which anybody on the host can forge",
    ),
    (
        "access",
        "what the strongest action does: `list`, `read`, `tagging`, `write` or `permissions`",
    ),
    ("plane", "`data` or `management`, as CloudTrail tells them apart"),
    ("basis", "how sure the actions are: `listed` by AWS, or `assumed` from names"),
    ("named_by", "how the resource was named: `arn`, `url`, `bare` or `alias`"),
    ("named", "how much is known of actions and resources: `all`, `part` or `nothing`"),
    ("resources", "the ARNs that are known; empty where there is nothing to name"),
    ("unnamed", "parameters that no table could name, as JSON"),
    ("request_id", "AWS's id of one of them, which joins it to CloudTrail"),
    ("user_agent", "what the SDK of one of them calls itself"),
    ("endpoint", "the host that one of them was sent to"),
    ("longest_ms", "how long one of them took at most, in milliseconds"),
    ("host", "the agent that saw them"),
    ("event_id", "the id of this row, which no other row has"),
];

const NEEDS: Columns = &[
    ("time", "as in `calls`"),
    ("last", "as in `calls`"),
    ("account", "as in `calls`"),
    ("region", "as in `calls`"),
    ("service", "as in `calls`"),
    ("operation", "as in `calls`"),
    ("outcome", "as in `calls`; the service does not say which of several actions was denied"),
    ("error", "as in `calls`"),
    (
        "count",
        "as in `calls`; of one `event_id` it is the same in each row, so do not add over actions",
    ),
    ("application", "as in `calls`"),
    ("environment", "as in `calls`"),
    ("workload", "as in `calls`"),
    ("role", "as in `calls`"),
    ("access_key", "as in `calls`"),
    ("signer", "as in `calls`"),
    ("trust", "as in `calls`"),
    ("access", "as in `calls`"),
    ("plane", "as in `calls`"),
    ("basis", "as in `calls`"),
    ("action", "the IAM action: `dynamodb:GetItem`"),
    ("resource", "the ARN that it is needed on; `*` where the action takes no resource"),
    ("event_id", "the row of `calls`"),
];

const LEASES: Columns = &[
    ("access_key", "the id of the access key"),
    ("application", "what it was leased to"),
    ("environment", "where that runs"),
    ("instance", "which one it is"),
    ("workload", "the three together"),
    ("role", "the ARN of the role"),
    ("account", "the account of the role"),
    ("fetched", "when it was fetched"),
    ("ends", "when it ends"),
    ("host", "the agent that fetched it"),
];

const SHIMS: Columns = &[
    ("since", "when it began to speak"),
    ("application", "in what"),
    ("environment", "where that runs"),
    ("instance", "which one it is"),
    ("workload", "the three together"),
    ("language", "the programming language"),
    ("sdk", "the SDK"),
    ("sdk_version", "the SDK's version"),
    ("shim_version", "the shim's version"),
    ("host", "the agent that heard it"),
];

const COVERAGE: Columns = &[
    ("host", "the agent"),
    ("day", "the day, in UTC"),
    ("first", "when the time began that is told of"),
    ("last", "when it ended"),
    ("sent", "how many calls and attempts were sent, as far as is known"),
    ("stored", "those that have a record of their own"),
    ("folded", "those that are in the count of a record"),
    ("attempts", "those that were attempts of a call"),
    ("lost", "those that are in no record, for whatever reason"),
    ("held", "those that had no end yet, the last time the agent told of it"),
    (
        "cut_off",
        "streams that ended without a last word: what their processes held is lost, and nobody knows how much",
    ),
    ("crashes", "runs of the agent that ended so"),
    ("lost_kernel_drop", "the kernel had no room for a datagram"),
    ("lost_malformed", "the line could not be read"),
    ("lost_over_quota", "the sender had used up what it may send"),
    ("lost_spool_full", "the spool was full"),
    ("lost_disk_refused", "the disk did not take it"),
    ("lost_spool_damaged", "it was written, and could not be read any more"),
    ("lost_shim_full", "the shim's table was full"),
    ("lost_shim_long", "the line would have been too long"),
    ("lost_shim_error", "the shim made a mistake"),
    ("lost_shim_off", "the shim had switched itself off"),
    ("lost_shim_other", "the shim gave a reason that we do not know"),
];

const ROLE_RESOURCES: Columns = &[
    ("role", "the role; unknown for keys that we did not lease"),
    ("account", "the caller's account"),
    ("application", "what used it"),
    ("environment", "where that runs"),
    ("signer", "whose key it was"),
    ("resource", "the ARN; `*` where the actions take none"),
    ("actions", "the IAM actions, in order; unknown where none is known"),
    ("count", "how many calls needed any of them; a call that needs two is counted for each"),
    ("denied", "how many of these were denied"),
    ("first", "when the first began"),
    ("last", "when the last began"),
];

const RESOURCE_ROLES: Columns = &[
    ("resource", "the ARN; `*` where the actions take none"),
    ("role", "the role; unknown for keys that we did not lease"),
    ("access_key", "the access key, where the role is not known"),
    ("account", "the caller's account"),
    ("application", "what used it"),
    ("environment", "where that runs"),
    ("signer", "whose key it was"),
    ("actions", "the IAM actions, in order; unknown where none is known"),
    ("count", "how many calls needed any of them; a call that needs two is counted for each"),
    ("denied", "how many of these were denied"),
    ("first", "when the first began"),
    ("last", "when the last began"),
];

const APP_DEPENDENCIES: Columns = &[
    ("application", "who depends"),
    ("environment", "where it runs"),
    ("service", "on which service"),
    ("resource", "on which resource"),
    ("resource_account", "the account in the resource's ARN; ARNs of S3 have none"),
    ("owners", "applications that were leased a role of that account, in order"),
    ("count", "how many calls, as in `role_resources`"),
    ("denied", "how many of these were denied"),
    ("first", "when the first began"),
    ("last", "when the last began"),
];

const LAST_USED: Columns = &[
    ("role", "the role; unknown for keys that we did not lease"),
    ("account", "the caller's account"),
    ("action", "the IAM action"),
    ("resource", "the ARN; `*` where the action takes none"),
    ("last", "when it was last used"),
    ("last_done", "when it was last used and done"),
    ("count", "how many calls"),
];

const DENIED_NOW: Columns = &[
    ("application", "who is denied"),
    ("environment", "where it runs"),
    ("role", "as which role; unknown for keys that we did not lease"),
    ("access_key", "with which key, where the role is not known"),
    ("signer", "whose key it was"),
    ("account", "the caller's account"),
    ("region", "the region that was called"),
    ("service", "the service"),
    ("operation", "the operation"),
    ("resources", "on what, as in `calls`"),
    ("error", "an error code that it was denied with"),
    ("first", "when it was first denied within the time"),
    ("last", "when it was last denied"),
    ("count", "how often"),
];

const NEW_THIS_WEEK: Columns = &[
    ("role", "the role; unknown for keys that we did not lease"),
    ("account", "the caller's account"),
    ("action", "the IAM action"),
    ("resource", "the ARN; `*` where the action takes none"),
    ("first", "when it was first seen"),
    ("last", "when it was last seen"),
    ("count", "how many calls"),
    ("denied", "how many of these were denied"),
    ("history_from", "since when anything is known"),
];
