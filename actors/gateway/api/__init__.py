"""The routes of ``/api/v1``, one module per family, each with its own ``Routes`` table, from which ``dispatch`` and ``openapi`` work.

A handler validates what only it can know, asks ``queries`` or core, and returns an ``Answer``. Sessions, CSRF, limits and decoding happen before it, in
``dispatch``.
"""
