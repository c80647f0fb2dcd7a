//! The embedded table, which `xtask/src/generate/names.py` writes: one line for each operation, below one for its service.
//!
//! ```text
//! #dynamodb dynamodb DynamoDB
//! PutItem md<TAB>=;w;@table/${TableName}
//! ```
//!
//! Behind the name: how it is known (`h`and, `m`ap, `i`dentity, `a`ssumed, `n`one needed) and `d` for data. Each
//! need: the action (`=` is the operation's own, `:X` of the service's prefix), its level, `-` without resources, a
//! condition; then resources, each with alternatives.

use std::{cmp::Ordering, sync::OnceLock};

use super::{Access, Basis, Plane};

const TABLE: &str = include_str!("table.txt");

/// A service: its id in letters and digits, its prefix, its lines.
struct Service {
    id: &'static str,
    prefix: &'static str,
    lines: &'static str,
}

/// An operation that was found.
pub(super) struct Operation {
    pub(super) entry: Entry<'static>,
    pub(super) prefix: &'static str,
}

/// A line of the table.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) operation: &'a str,
    marks: &'a str,
    needs: &'a str,
}

/// An action that an operation needs.
pub(super) struct Need<'a> {
    action: &'a str,
    pub(super) access: Option<Access>,
    pub(super) without_resource: bool,
    /// Whether a parameter must be there, or must not be.
    pub(super) condition: Option<(bool, &'a str)>,
    resources: &'a str,
}

pub(super) fn version() -> &'static str {
    let first = TABLE.lines().next().unwrap_or_default();
    first.strip_prefix("rolecall names 1 ").unwrap_or(first)
}

/// The entry of an operation. SDKs write service ids with and without spaces, and operations with a small letter.
pub(super) fn find(service: &str, operation: &str) -> Option<Operation> {
    let plain: String = service.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    let services = services();
    let index = services.binary_search_by(|known| known.id.cmp(&plain)).ok()?;
    let Service { prefix, lines, .. } = services.get(index)?;
    let entry = entry(lines, operation).or_else(|| entry(lines, &capital(operation)?))?;
    Some(Operation { entry, prefix })
}

fn capital(operation: &str) -> Option<String> {
    let first = operation.chars().next().filter(char::is_ascii_lowercase)?;
    Some(format!("{}{}", first.to_ascii_uppercase(), operation.get(1..)?))
}

/// All entries, in the table's order.
pub(super) fn entries() -> impl Iterator<Item = Entry<'static>> {
    services().iter().flat_map(|service| service.lines.lines().filter_map(Entry::read))
}

fn services() -> &'static [Service] {
    static SERVICES: OnceLock<Vec<Service>> = OnceLock::new();
    SERVICES.get_or_init(|| {
        let blocks = TABLE.split("\n#").skip(1);
        let mut all: Vec<Service> = blocks.filter_map(service).collect();
        all.sort_by_key(|service| service.id);
        all
    })
}

fn service(block: &'static str) -> Option<Service> {
    let (head, lines) = block.split_once('\n').unwrap_or((block, ""));
    let (id, rest) = head.split_once(' ')?;
    let (prefix, _) = rest.split_once(' ')?;
    Some(Service { id, prefix, lines })
}

/// Finds a line by halves: lines are in the order of their names.
fn entry<'a>(lines: &'a str, operation: &str) -> Option<Entry<'a>> {
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = low.midpoint(high);
        let start = lines.get(..middle)?.rfind('\n').map_or(0, |at| at + 1);
        let end = lines.get(middle..)?.find('\n').map_or(lines.len(), |at| middle + at);
        let found = Entry::read(lines.get(start..end)?)?;
        match found.operation.cmp(operation) {
            Ordering::Equal => return Some(found),
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
        }
    }
    None
}

impl<'a> Entry<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (operation, rest) = line.split_once(' ')?;
        let (marks, needs) = rest.split_once('\t').unwrap_or((rest, ""));
        Some(Self { operation, marks, needs })
    }

    pub(super) fn basis(&self) -> Basis {
        if self.marks.starts_with('a') { Basis::Assumed } else { Basis::Listed }
    }

    pub(super) fn plane(&self) -> Plane {
        if self.marks.ends_with('d') { Plane::Data } else { Plane::Management }
    }

    pub(super) fn needs(&self) -> impl Iterator<Item = Need<'a>> + use<'a> {
        self.needs.split('\t').filter_map(Need::read)
    }
}

impl<'a> Need<'a> {
    fn read(field: &'a str) -> Option<Self> {
        let (action, rest) = field.split_once(';')?;
        let (level, resources) = rest.split_once(';').unwrap_or((rest, ""));
        let (level, condition) = level.split_once(' ').map_or((level, None), |(l, c)| (l, Some(c)));
        let condition = condition.and_then(|text| {
            let there = text.starts_with('?');
            Some((there, text.get(1..)?))
        });
        let access = match level.trim_end_matches('-') {
            "l" => Some(Access::List),
            "r" => Some(Access::Read),
            "t" => Some(Access::Tagging),
            "w" => Some(Access::Write),
            "p" => Some(Access::Permissions),
            _ => None,
        };
        let without_resource = level.ends_with('-');
        Some(Self { action, access, without_resource, condition, resources })
    }

    pub(super) fn action(&self, prefix: &str, operation: &str) -> String {
        match self.action {
            "=" => format!("{prefix}:{operation}"),
            own if own.starts_with(':') => format!("{prefix}{own}"),
            other => other.to_owned(),
        }
    }

    pub(super) fn resources(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.resources.split(';').filter(|resource| !resource.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_every_operation_is_found_by_its_name() {
        let mut count = 0;
        for service in services() {
            for line in service.lines.lines() {
                let operation = line.split(' ').next().unwrap();
                let found = find(service.id, operation).unwrap_or_else(|| panic!("{line}"));
                assert_eq!((found.entry.operation, found.prefix), (operation, service.prefix));
                count += 1;
            }
        }
        assert_eq!(count, entries().count());
        assert!(count > 19_000, "{count}");
    }

    #[test]
    fn services_are_found_however_they_are_written_and_operations_with_a_small_letter() {
        for (service, operation) in [
            ("Secrets Manager", "GetSecretValue"),
            ("SecretsManager", "getSecretValue"),
            ("secrets-manager", "GetSecretValue"),
        ] {
            assert!(find(service, operation).is_some(), "{service} {operation}");
        }
        for (service, operation) in [
            ("", ""),
            ("S3", ""),
            ("S3", "Get"),
            ("S3", "ZZZ"),
            ("S3", "AAA"),
            ("S3x", "GetObject"),
        ] {
            assert!(find(service, operation).is_none(), "{service} {operation}");
        }
    }

    #[test]
    fn every_need_has_a_level_unless_it_is_assumed() {
        for entry in entries() {
            for need in entry.needs() {
                assert!(
                    need.access.is_some() || entry.basis() == Basis::Assumed,
                    "{}",
                    entry.operation
                );
            }
            assert_eq!(
                entry.needs().count() == 0,
                entry.marks.starts_with('n'),
                "{}",
                entry.operation
            );
        }
    }
}
