"""actors/demo."""
