"""Faults on purpose: ``simulation`` in one deterministic run, later scenarios on real processes. Beside the house: nothing in it imports this."""
