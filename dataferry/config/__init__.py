"""The user's configuration: environment variables, config.toml, sites, credentials, folders."""

from __future__ import annotations

from .settings import Settings, load_settings

__all__ = ["Settings", "load_settings"]
