"""Faults on purpose: ``simulation`` in one deterministic run, ``scenarios`` on real processes (``play`` plays one, ``run`` all of them).

``engines`` and ``cluster`` start what those stand on, ``proxy`` is the network between, ``load`` the people in front; ``invariants`` is what both
kinds hold the platform to. Beside the house: nothing in it imports this.
"""
