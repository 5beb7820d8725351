"""The routes of ``/api/v1``, one module per family, each with its own ``Routes`` table of which ``openapi`` and ``dispatch`` are made.

A handler validates what only it can know, asks ``queries`` or core, and returns an ``Answer``. Sessions, CSRF, limits, decoding and errors happen before it, in ``dispatch``.
"""
