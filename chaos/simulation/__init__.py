"""A whole cluster in one Trio run: the real tree and actors of every process, simulated neighbours, time that jumps, faults from a seed.

determinism   one run, the same from the same seed         world      engines, network, processes
buggify       points in our own code where faults may be   workload   contestants and what they saw
faults        what may go wrong, and how often             checks     I1-I9 by name (chaos.invariants)
run           one seed: set up, hurt, heal, judge          batch      many seeds in several processes
"""
