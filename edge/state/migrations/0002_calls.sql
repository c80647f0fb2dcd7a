-- The manifest of the lake: which segments there are, and how far each sender is safely stored.
CREATE TABLE segments (
    path TEXT NOT NULL PRIMARY KEY,
    dataset TEXT NOT NULL,
    region TEXT NOT NULL,
    account TEXT NOT NULL,
    day BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    rows BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    hash TEXT NOT NULL,
    made BIGINT NOT NULL
);
CREATE INDEX segments_by_day ON segments (dataset, day, path);
-- Segments that are in the manifest no more: their files are deleted once nobody can still read them.
CREATE TABLE segments_gone (
    path TEXT NOT NULL PRIMARY KEY,
    gone BIGINT NOT NULL
);
CREATE INDEX segments_gone_by_time ON segments_gone (gone, path);
CREATE TABLE watermarks (
    host TEXT NOT NULL,
    epoch TEXT NOT NULL,
    next BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (host, epoch)
);
