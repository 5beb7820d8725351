"""The gateway through its own door: a real application on embedded edges and the real core."""
