"""Untrusted programs: boxes, the agent inside them, languages, problem packages, checkers, and judging, which makes verdicts out of these.

Here belongs all that runs or prepares code which nobody trusts. A box reports facts (``provider.Outcome``), ``judging`` decides what they mean. Expected
answers never enter a box in which a contestant's program runs. What does not belong here: queues, leases, the database, and who may submit what.
"""
