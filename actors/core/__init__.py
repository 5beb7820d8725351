"""Core: the one place where durable state changes.

``actor`` drains its mailbox and commits what it found as one transaction; each request has one small function in ``people``, ``contests``, ``problems`` or
``submissions`` that turns it into SQL. Nothing here talks to Redis or the broker: what others must hear of goes into the outbox, in the same transaction.
"""
