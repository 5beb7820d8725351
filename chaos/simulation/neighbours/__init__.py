"""The ports as one simulated process has them: a link with its troubles in front of an engine that all processes share."""
