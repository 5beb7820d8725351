-- The sweeper reads what waits page by page, oldest first.
DROP INDEX submissions_waiting;
CREATE INDEX submissions_waiting ON submissions(queued_at_ms, id) WHERE verdict IS NULL;

-- Whose judging a row asks for, NULL where it is news: what the outbox still has is not lost, however long it has waited.
ALTER TABLE outbox_messages ADD COLUMN submission_id TEXT;
CREATE INDEX outbox_asked ON outbox_messages(submission_id) WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL AND submission_id IS NOT NULL;
