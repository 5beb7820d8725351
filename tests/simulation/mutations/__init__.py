"""The product, broken on purpose: each mutation is a patch of its text, and one of the simulation's checkers must notice."""
