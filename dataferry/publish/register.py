"""Register what a host has already: one's own data that was uploaded by hand, or other people's."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.store import incoming
from ..download.source import Wanted
from ..errors import BadName, FetchErrors, FileUnavailable, NeedsNetwork, PublishError, WrongBytes
from ..files import hash_file
from ..hosts import make_host
from ..hosts.base import checked_files, guarded
from ..lookup.configured_hosts import engine_settings, offline_reason
from ..lookup.options import FetchOptions
from ..registry.names import check_public, redact_url
from ..registry.registry import Entry
from .proof import fetch_and_drop

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..hosts.base import Host, HostedFile

__all__ = ["declared_line", "entries_at"]


def declared_line(spec: str) -> str:
    """The line for the registry: of a published folder the URL alone, since its path is the author's own business.

    Raises `BadName` if it holds a login, which every user would get.
    """
    host = make_host(spec)
    try:
        return check_public(host.publisher(engine_settings(), {}).declared)
    except PublishError:  # it can only be read from
        return check_public(host.spec)


def entries_at(spec: str, patterns: Sequence[str] = (), *, show_progress: bool = True) -> tuple[list[Entry], list[str]]:
    """What a host has, as entries with its locators, sorted by name; and what was left out, each with its reason.

    Files whose sha256 the host does not give are fetched to be hashed; nothing of them is kept.

    Raises `BadName` (no such host, no file fits), `NeedsNetwork`, `TransferError` (no list, or the host could not be
    asked) and `FetchErrors`.
    """
    if reason := offline_reason():
        raise NeedsNetwork(f"the list of {redact_url(spec)}", [(f"host {redact_url(spec)}", f"not asked: {reason}")])
    host = make_host(spec)
    with guarded(host.redacted):
        hosted, skipped = checked_files(host.redacted, host.hosted(_settings(host)))
    if patterns:
        hosted = {name: file for name, file in hosted.items() if any(fnmatch.fnmatchcase(name, p) for p in patterns)}
    if not hosted:
        which = f" that fits {' or '.join(patterns)}" if patterns else ""
        left_out = f"; left out: {'; '.join(skipped[:3])}" if skipped else ""
        raise BadName(f"{host.redacted} has no file{which}{left_out}")
    digests = {name: file.sha256.lower() for name, file in hosted.items() if file.sha256}
    sizes = {name: file.size for name, file in hosted.items()}
    unknown = {name: file for name, file in hosted.items() if name not in digests}
    for name, (size, sha256) in _hash_by_fetching(host, unknown, show_progress).items():
        digests[name], sizes[name] = sha256, size
    entries = [Entry(name, digests[name], sizes[name], dict(hosted[name].locators)) for name in sorted(hosted)]
    return entries, skipped


def _settings(host: Host) -> Settings:
    """The user typed the host's name, as in ``publish``: its server may get the user's credentials."""
    settings = engine_settings()
    settings.named_hosts = [host.spec]
    return settings


def _hash_by_fetching(host: Host, unknown: Mapping[str, HostedFile], show_progress: bool) -> dict[str, tuple[int, str]]:
    """Size and sha256 of files."""
    if not unknown:
        return {}
    found: dict[str, tuple[int, str]] = {}
    errors: list[FileUnavailable | WrongBytes] = []

    def hash_it(item: Wanted, path: Path) -> None:
        file, stamp = unknown[item.name], hash_file(path, md5=True)
        for word, listed, came in (("md5", file.md5, stamp.md5), ("size", file.size, stamp.size)):
            if listed not in {None, came}:
                errors.append(WrongBytes(f"{item.name!r}: its {word} is {came}, and {host.redacted} lists {listed}"))
        found[item.name] = stamp.size, stamp.sha256

    # a made-up digest stands in entries that only carry locators: any bytes will do
    entries = [Entry(name, "0" * 64, file.size, dict(file.locators)) for name, file in unknown.items()]
    options = FetchOptions(progress=show_progress)
    results = fetch_and_drop(host, entries, _settings(host), incoming(), "adopt-", options, hash_it, compare=False)
    errors += [result for result in results.values() if isinstance(result, FileUnavailable)]
    if errors:
        raise FetchErrors(f"{len(errors)} of {len(unknown)} files could not be registered:", errors)
    return found
