"""The outside world, one room per neighbour: the only place that imports a driver, a socket or a thread.

Each module implements one port of ``contracts.ports``, maps its driver's errors once (``from exc``) to ``contracts.errors``, and passes the port's conformance
suite in ``tests/edge``. The embedded variants are SQLite, the in-process broker, the in-process Redis and the direct rpc. What does not belong here: rules of
the contest, actors, anything that decides *what* to say to a neighbour.
"""
