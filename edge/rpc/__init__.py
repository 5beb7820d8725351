"""Requests to services: ``local`` within a process, ``grpc`` between processes. Both pass ``tests/edge/conformance_rpc.py``.

From the bottom up: ``wire`` turns structs into bytes, ``failures`` errors into trailers and ``context`` what a log line should know into metadata; ``url``
reads the setting; ``http2`` is one connection of either side, whose ``frames`` are counted, and ``handshake`` is what comes before it; ``client`` calls on it,
``balance`` says which server's turn it is; ``server`` has a ``service`` answer, as far as the ``callers`` may ask, and ``grpc`` joins it all to Trio. What does
not belong here: what a request means.
"""

from edge.rpc.local import LocalRpc

__all__ = ["LocalRpc"]
