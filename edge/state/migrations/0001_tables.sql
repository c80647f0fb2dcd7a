-- One text for SQLite and PostgreSQL: TEXT and BIGINT alone. Times are microseconds since 1970. In PostgreSQL each TEXT
-- compares by its bytes, as in SQLite: `open` adds the collation. What nothing asks for is in `body`, as JSON.

-- Where the ledger stands, and the revision of what the servers know. Its one row is the lock of all acts.
CREATE TABLE standing (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO standing (one, revision, seq, hash)
VALUES (1, 0, 0, '0000000000000000000000000000000000000000000000000000000000000000');

CREATE TABLE ledger (
    seq BIGINT NOT NULL PRIMARY KEY,
    time TEXT NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    -- Which act wrote it. No other one has this id, so an act whose end was lost is found by it.
    act TEXT NOT NULL
);
CREATE TABLE checkpoints (
    seq BIGINT NOT NULL,
    time TEXT NOT NULL,
    hash TEXT NOT NULL,
    key TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (seq, time)
);

CREATE TABLE applications (
    application TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    body TEXT NOT NULL,
    changed BIGINT NOT NULL
);
CREATE TABLE accounts (
    account TEXT NOT NULL PRIMARY KEY,
    application TEXT,
    environment TEXT,
    body TEXT NOT NULL,
    changed BIGINT NOT NULL
);

CREATE TABLE hosts (
    host TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    joined BIGINT NOT NULL,
    certificate_expires BIGINT NOT NULL,
    revoked BIGINT
);
CREATE TABLE reports (
    host TEXT NOT NULL PRIMARY KEY,
    boot TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    received BIGINT NOT NULL,
    version TEXT NOT NULL,
    orders_revision BIGINT,
    orders_issued BIGINT,
    workloads BIGINT NOT NULL
);
CREATE TABLE workloads (
    workload TEXT NOT NULL,
    host TEXT NOT NULL REFERENCES reports (host) ON DELETE CASCADE,
    application TEXT NOT NULL,
    environment TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (workload, host)
);
CREATE INDEX workloads_by_host ON workloads (host, workload);
CREATE INDEX workloads_by_application ON workloads (application, environment, workload, host);
CREATE TABLE groups (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    changed BIGINT NOT NULL
);

CREATE TABLE join_rules (
    rule TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    changed BIGINT NOT NULL
);
CREATE TABLE join_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    uses BIGINT NOT NULL,
    used BIGINT NOT NULL,
    made BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    revoked BIGINT,
    body TEXT NOT NULL
);
CREATE INDEX join_tokens_by_time ON join_tokens (made, id);
CREATE TABLE nonces (
    hash TEXT NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
);

CREATE TABLE bindings (
    application TEXT NOT NULL,
    environment TEXT NOT NULL,
    version BIGINT NOT NULL,
    status TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (application, environment, version)
);
CREATE UNIQUE INDEX bindings_in_force ON bindings (application, environment) WHERE status = 'in-force';

CREATE TABLE positions (
    id BIGINT NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL,
    body TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    expires BIGINT,
    ended BIGINT,
    ended_how TEXT
);
-- Of one scope the latest decides alone, so that no more than one of it lives.
CREATE UNIQUE INDEX positions_live ON positions (scope) WHERE ended IS NULL;

CREATE TABLE issuer_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    body TEXT NOT NULL,
    sealed TEXT
);
CREATE TABLE sealed (
    name TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE people (
    person TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    disabled BIGINT,
    last_login BIGINT
);
CREATE TABLE sessions (
    hash TEXT NOT NULL PRIMARY KEY,
    person TEXT NOT NULL,
    created BIGINT NOT NULL,
    used BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX sessions_by_person ON sessions (person);
CREATE TABLE logins (
    hash TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE TABLE policies (
    version BIGINT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    since BIGINT NOT NULL
);
CREATE TABLE decisions (
    id TEXT NOT NULL PRIMARY KEY,
    time BIGINT NOT NULL,
    person TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    allowed BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX decisions_by_time ON decisions (time, id);
