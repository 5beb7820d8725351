"""Measurements, each beside its reference from the same run: machines are shared and noisy, so ratios and medians are what counts.

``codewarz bench NAME`` runs one; ``RESULTS.md`` keeps figures with machine, commit and command. Nothing here asserts anything.
"""
