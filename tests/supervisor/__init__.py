"""tests/supervisor."""
