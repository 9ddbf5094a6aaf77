-- Times are microseconds since 1970 (UTC).

CREATE TABLE flow (
    name   TEXT PRIMARY KEY,
    shards INTEGER NOT NULL
) STRICT;

-- `seq` is the time of publishing, or one more than the greatest there is: no counter has to be written beside each
-- message. One may come again once its message is gone; nobody holds it then.
CREATE TABLE message (
    seq         INTEGER PRIMARY KEY,
    flow        TEXT NOT NULL,
    shard       INTEGER NOT NULL,
    body        BLOB NOT NULL,
    enqueued_at INTEGER NOT NULL,
    due_at      INTEGER NOT NULL             -- 0: at once
) STRICT;
-- The row id, which every index ends with, gives the order of publishing.
CREATE INDEX message_of_shard ON message (flow, shard, due_at);

-- Apart from the messages, so that a hand-over does not write them anew.
CREATE TABLE handed_over (
    seq        INTEGER PRIMARY KEY,
    deliveries INTEGER NOT NULL,             -- that were not settled
    consumer   INTEGER                       -- who holds it now
) STRICT;

CREATE TABLE dead_letter (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    letter   BLOB NOT NULL,
    event    TEXT NOT NULL,                  -- opened, resolved
    at       INTEGER NOT NULL,
    body     TEXT NOT NULL,
    UNIQUE (letter, event)
) STRICT;
CREATE INDEX dead_letter_resolved ON dead_letter (at) WHERE event = 'resolved';

-- One rising number for document versions and lease terms: none is used twice, whatever is deleted.
CREATE TABLE sequence (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO sequence VALUES (1, 0);

CREATE TABLE document (
    id      INTEGER PRIMARY KEY,
    key     TEXT NOT NULL UNIQUE,
    value   BLOB NOT NULL,
    version INTEGER NOT NULL,
    ends_at INTEGER                          -- NULL: stays
) STRICT;
CREATE INDEX document_ends ON document (ends_at) WHERE ends_at IS NOT NULL;

CREATE TABLE lease (
    name    TEXT PRIMARY KEY,
    holder  TEXT NOT NULL,
    term    INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;

CREATE TABLE counter (
    key     TEXT PRIMARY KEY,
    value   INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
CREATE INDEX counter_ends ON counter (ends_at);
