"""Judges: ``intake`` takes requests off the queue, as many as there are workers; each ``worker`` judges one at a time under a ``lease``.

A judge may die at any moment: the broker delivers again, the lease expires, the fencing number makes the dead one's verdict worthless.
"""
