-- What has waited longest goes first even when it was put off meanwhile: the order is that of the identifiers, which rise with time, and not of when a row is due.
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox_messages(priority DESC, id) WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL;
