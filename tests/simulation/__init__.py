"""The simulation itself under test: what it promises about seeds and replays, and whether its checkers find what is broken on purpose."""
