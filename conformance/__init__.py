"""A conformance suite for tus 1.0.0 servers: ``python -m conformance http://host/files``.

It knows nothing of any server's code; all it sees is what comes over the wire.
"""
