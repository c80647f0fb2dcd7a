//! Everything relational: SQLite by default, PostgreSQL beyond one machine.
