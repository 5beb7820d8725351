"""actors/gateway."""
