-- The relay takes what is due by priority: a rejudging of thousands must not stand before a live contest's submissions.
CREATE INDEX outbox_due ON outbox_messages(priority DESC, available_at_ms, id) WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL;
