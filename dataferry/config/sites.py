"""Which site is this? The answer labels and orders folders; it never decides whether one is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

#: Variables whose value is itself a label: the name of the site or of the machine.
_NAMING = ("NERSC_HOST", "LMOD_SITE_NAME", "LMOD_SYSTEM_NAME", "SLURM_CLUSTER_NAME")


@lru_cache(maxsize=1)
def known_sites() -> Mapping[str, Mapping[str, Any]]:
    """The sites that dataferry knows, from ``data/sites.toml``."""
    import tomllib

    folder = os.path.dirname(os.path.dirname(__file__))
    with open(f"{folder}/data/sites.toml", "rb") as file:
        return tomllib.load(file)


def current_sites(more: Mapping[str, Mapping[str, Any]], forced: str) -> frozenset[str]:
    """The labels that fit this machine, such as ``{"nersc", "perlmutter"}``; those of config.toml count as well."""
    if forced:
        return frozenset({forced.lower()})
    env = os.environ
    host = os.uname().nodename if hasattr(os, "uname") else ""
    found = {env[key].lower() for key in _NAMING if env.get(key)}
    for site, signs in {**known_sites(), **more}.items():
        wanted = signs.get("env", {})
        by_env = bool(wanted) and all(env.get(key) and value in {"", env[key]} for key, value in wanted.items())
        if by_env or host.lower().endswith(tuple(signs.get("hostname", ()))):
            found.add(site.lower())
    return frozenset(found)
