//! What the endpoints do, on real databases: SQLite, and PostgreSQL where two replicas meet.

mod agents;
mod applications;
mod aws;
mod bindings;
mod issuer;
mod ledger;
mod stage;
mod switch;
mod tokens;
