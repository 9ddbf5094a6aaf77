CREATE TABLE handed_over (
    seq        INTEGER PRIMARY KEY,
    deliveries INTEGER NOT NULL,
    consumer   INTEGER
) STRICT;
INSERT INTO handed_over SELECT seq, deliveries, consumer FROM message WHERE deliveries > 0;
DROP INDEX message_of_shard;
ALTER TABLE message DROP COLUMN id;
ALTER TABLE message DROP COLUMN deliveries;
ALTER TABLE message DROP COLUMN consumer;
CREATE INDEX message_of_shard ON message (flow, shard, due_at);
