//! What a call needs, as OCSF's list of resources: each with the IAM actions that are needed on it as its labels.
//!
//! So the pairs of action and resource are in columns that every engine can unnest, and need no text to be read again.
//! An action that takes no resource is needed on `*`, as policies write it. What is not known is a resource of the name
//! `unknown`, without a uid. Where not even the actions are known, the list itself is missing.

use std::collections::{BTreeMap, BTreeSet};

use arrow::error::ArrowError;
use calls::{Names, Needs, Record};

use super::Row;
use crate::column::Column;

/// What stands for a resource that is not known.
const UNKNOWN: &str = "unknown";
/// What stands for no resource in particular.
const ANY: &str = "*";

/// A resource with the actions; without a uid it is not known which.
type Needed<'a> = BTreeMap<Option<&'a str>, BTreeSet<&'a str>>;

fn needed(needs: &Needs) -> Option<Needed<'_>> {
    let Needs::These(needs) = needs else { return None };
    let mut needed = Needed::new();
    for (action, names) in needs {
        let mut on = |resource| needed.entry(resource).or_default().insert(action.as_str());
        match names {
            Names::Unknown => drop(on(None)),
            Names::These(resources) if resources.is_empty() => drop(on(Some(ANY))),
            Names::These(resources) => {
                for resource in resources {
                    on(Some(resource));
                }
            }
        }
    }
    Some(needed)
}

pub(super) fn column(id: i32, rows: &[Row<'_, Record>]) -> Result<Column, ArrowError> {
    let needed: Vec<_> = rows.iter().map(|row| needed(&row.what.key.named.needs)).collect();
    let lengths: Vec<_> = needed.iter().map(|it| it.as_ref().map(BTreeMap::len)).collect();
    let each = || needed.iter().flatten().flatten();
    let labels: Vec<_> = each().map(|(_, actions)| Some(actions.len())).collect();
    let actions = each().flat_map(|(_, actions)| actions.iter().copied().map(Some));
    let element = Column::group(
        160,
        "element",
        vec![
            Column::text(161, "uid", each().map(|(resource, _)| *resource)),
            Column::text(
                162,
                "name",
                each().map(|(resource, _)| resource.is_none().then_some(UNKNOWN)),
            ),
            Column::list(163, "labels", &labels, Column::text(164, "element", actions).required())?
                .required(),
        ],
    )?;
    Column::list(id, "resources", &lengths, element.required())
}
