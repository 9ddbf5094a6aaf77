CREATE TABLE message_3 (
    seq         INTEGER PRIMARY KEY,
    flow        TEXT NOT NULL,
    shard       INTEGER NOT NULL,
    body        BLOB NOT NULL,
    enqueued_at INTEGER NOT NULL,
    due_at      INTEGER NOT NULL
) STRICT;
INSERT INTO message_3 SELECT seq, flow, shard, body, enqueued_at, due_at FROM message;
DROP TABLE message;
ALTER TABLE message_3 RENAME TO message;
CREATE INDEX message_of_shard ON message (flow, shard, due_at);
