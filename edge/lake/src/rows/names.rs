//! What the classes of a call are called in a row.

use calls::{Access, Basis, NamedBy, Plane, Trust, Why};

pub(super) fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Monitoring => "monitoring",
        Trust::Shim => "shim",
    }
}

pub(super) fn access(access: Access) -> &'static str {
    match access {
        Access::List => "list",
        Access::Read => "read",
        Access::Tagging => "tagging",
        Access::Write => "write",
        Access::Permissions => "permissions",
    }
}

pub(super) fn plane(plane: Plane) -> &'static str {
    match plane {
        Plane::Data => "data",
        Plane::Management => "management",
    }
}

pub(super) fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Listed => "listed",
        Basis::Assumed => "assumed",
    }
}

pub(super) fn named_by(by: NamedBy) -> &'static str {
    match by {
        NamedBy::Arn => "arn",
        NamedBy::Url => "url",
        NamedBy::Bare => "bare",
        NamedBy::Alias => "alias",
    }
}

pub(super) fn why(why: Why) -> &'static str {
    match why {
        Why::First => "first",
        Why::Repeats => "repeats",
        Why::Evicted => "evicted",
    }
}
