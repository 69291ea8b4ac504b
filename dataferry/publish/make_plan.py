"""Make a plan: only reads, here and at the hosts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadName, CacheError, Conflict, DataferryError, NeedsNetwork
from ..files import hash_files
from ..hosts import make_host
from ..hosts.base import Upload
from ..lookup.remote import engine_settings, offline_reason
from ..registry.names import check_name, redact_url
from .ask import ask
from .compare import Ground
from .known import Known, read_known
from .names import clashes
from .plan import HostPlan, Plan

if TYPE_CHECKING:
    from ..config.settings import Settings

__all__ = ["plan"]


def plan(
    files: Mapping[str, str | os.PathLike[str]],
    to: str | Sequence[str],
    registry: str | os.PathLike[str],
    *,
    new_version: bool = False,
    progress: bool = True,
) -> Plan:
    """Say what `publish` would do. Nothing is changed anywhere.

    Parameters
    ----------
    files : mapping of str to path-like
        Name -> file.
    to : str or sequence of str
        Hosts.
    registry : path-like
        The ``dataferry.toml``, which need not be there.
    new_version : bool
        Whether a registered name may get other bytes.
    progress : bool
        Whether to show how far the hashing is.

    Returns
    -------
    Plan
        What would be done, and every problem of every file; `dataferry.publish.Plan.check` raises them.

    Raises
    ------
    BadName
        If no file or no host is given.
    RegistryError, SettingsError
        If the registry or the configuration cannot be read.
    """
    path = Path(registry)
    specs = [to] if isinstance(to, str) else list(dict.fromkeys(to))
    if not files or not specs:
        raise BadName("there is nothing to publish" if not files else "no host is given to publish to")
    known = read_known(path)
    settings = engine_settings()
    problems: list[DataferryError] = []
    legal: dict[str, Path] = {}
    for name, file in files.items():
        try:
            legal[check_name(name)] = Path(file)
        except BadName as error:
            problems.append(error)
    digests, failed = hash_files(legal, md5=True, show=progress)
    problems += failed.values()
    problems += clashes(legal, known.names() if known else [])
    problems += _writable(path)
    uploads = {name: Upload(name, legal[name], d.size, d.sha256, d.md5) for name, d in digests.items()}
    hosts = []
    for spec in specs:
        try:
            hosts.append(_host(spec, settings, known))
        except DataferryError as error:
            problems.append(error)
    changed = _other_bytes(uploads, known, path, hosts, new_version)
    problems += changed.values()
    reason = offline_reason()
    if reason:
        problems.append(NeedsNetwork("publishing", [(redact_url(spec), f"not asked: {reason}") for spec in specs]))
    elif rest := {name: upload for name, upload in uploads.items() if name not in changed}:
        problems += ask(hosts, rest, Ground(path, known, settings, new_version, progress))
        # whether a host keeps versions may show only when it was asked
        late = _other_bytes(rest, known, path, hosts, new_version)
        problems += late.values()
    return Plan(path, uploads, digests, hosts, problems, new_version, _left_behind(uploads, known, hosts))


def _left_behind(uploads: Mapping[str, Upload], known: Known | None, hosts: Sequence[HostPlan]) -> list[str]:
    """The hosts of the registry that keep the old bytes of names which get new ones."""
    if known is None:
        return []
    entries = {name: known.find(name) for name in uploads}
    changed = [name for name, entry in entries.items() if entry is not None and entry.sha256 != uploads[name].sha256]
    served = {line for host in hosts for line in (host.spec, host.declared)}
    others = [redact_url(line) for line in (known.dataurl, *known.mirrors) if line and line not in served]
    if not changed or not others:
        return []
    what = changed[0] if len(changed) == 1 else f"{len(changed)} files"
    refused = "keep the old bytes, which users of the new registry are refused there; new names would go everywhere"
    return [f"{what}: {', '.join(others)} {refused}"]


def _host(spec: str, settings: Settings, known: Known | None) -> HostPlan:
    host = make_host(spec)
    publisher = host.publisher(settings, known.about if known else {})
    publisher.registered = tuple(filter(None, (known.dataurl, *known.mirrors))) if known else ()
    return HostPlan(spec, host, publisher)


def _writable(path: Path) -> list[DataferryError]:
    place = Path(os.path.realpath(path))
    folder = next((f for f in place.parents if f.exists()), place.parent)
    if os.access(folder, os.W_OK | os.X_OK):
        return []
    return [CacheError(f"{path} cannot be written: no right to write in {folder}")]


def _other_bytes(
    uploads: Mapping[str, Upload], known: Known | None, path: Path, hosts: Sequence[HostPlan], new_version: bool
) -> dict[str, DataferryError]:
    """Names that the registry has with other bytes."""
    problems: dict[str, DataferryError] = {}
    fixed = [plan.host.redacted for plan in hosts if plan.publisher is None or not plan.publisher.versioned]
    for name, upload in uploads.items():
        entry = known.find(name) if known else None
        if entry is None or entry.sha256 == upload.sha256:
            continue
        if not new_version:
            remedy = "A published name keeps its bytes: give the new ones another name"
            if not fixed:
                remedy += ", or publish a new version of the data with --new-version"
        elif fixed:
            remedy = f"{' and '.join(fixed)} keeps one version of a file only: give the new bytes another name"
        else:
            continue
        there, now = f"{entry.sha256[:12]}...", f"{upload.sha256[:12]}..."
        problems[name] = Conflict(
            str(path), f"{name!r} is registered with other bytes (sha256 {there} there, {now} now)", remedy
        )
    return problems
