"""Buckets of Amazon S3 and of the stores that speak its language.

``s3://bucket/prefix/?region=us-west-2`` in ``dataferry.toml``. Words of the query, all optional:

============ ========================================================================================================
``region``   where the bucket is; AWS needs it
``endpoint`` the URL of a store that is not AWS, ``https://objects.example.org``
``style``    ``virtual``, as AWS wants it (the bucket stands in the host of a URL), or ``path``, as other stores do
``public``   the URL at which strangers find the bucket, where a CDN or a domain of its own stands before it
``class``    the storage class of new objects, ``INTELLIGENT_TIERING``
``payer``    ``requester``: who reads signs and pays
``version``  the registry's key for version ids, ``s3``; ``off`` to keep none
============ ========================================================================================================
"""

from __future__ import annotations

from .host import S3Host

__all__ = ["S3Host"]
