-- A commit with outbox rows wakes the listener. Without content: it is a hint to look, never the truth.
CREATE TRIGGER outbox_wakeup AFTER INSERT ON outbox_messages
BEGIN
  SELECT pg_notify('outbox', '');
END;
