"""What each actor of CodeWarz does, and the tree they make.

An actor owns its state, reads its mailbox and talks to neighbours through ports; it never imports a driver. ``system.py`` and ``cli.py`` are the only modules
that pick concrete edges. What several actors need of a neighbour (a board's keys, the progress of a judging) has one small module here, beside them.
"""
