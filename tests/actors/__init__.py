"""tests/actors."""
