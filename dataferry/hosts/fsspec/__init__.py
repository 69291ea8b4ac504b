"""Anything that fsspec speaks: ``gs://``, ``abfs://``, ``sftp://``, ``hf://``; behind ``fsspec:`` all the rest."""

from __future__ import annotations

from .host import FsspecHost

__all__ = ["FsspecHost"]
