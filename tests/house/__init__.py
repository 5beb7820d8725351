"""The whole house as a user has it: a real ``codewarz up`` in a process of its own, driven through HTTP and the command line.

Nothing here imports an actor: what is compared (scoring, packages) comes from ``contracts`` and ``sandbox``, what is read, from the database's own file.
"""
