"""Register what a host has already: one's own data that was uploaded by hand, or other people's."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.store import incoming
from ..download.source import Wanted
from ..errors import BadName, FetchErrors, FileUnavailable, NeedsNetwork, PublishError, RegistryError, WrongBytes
from ..files import hash_file
from ..hosts import make_host
from ..hosts.base import checked_files, guarded
from ..lookup.configured_hosts import engine_settings, offline_reason
from ..lookup.file_url import FileHost
from ..lookup.options import FetchOptions
from ..registry.names import check_public, redact_url
from ..registry.registry import Entry
from .proof import fetch_and_drop

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..files import Stamp
    from ..hosts.base import Host
    from ..registry.checksum_lists import Row

__all__ = ["declared_line", "entries_at", "entries_of"]


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

    def check(name: str, _: Path, stamp: Stamp) -> str:
        file = unknown[name]
        words = (("md5", file.md5, stamp.md5), ("size", file.size, stamp.size))
        wrong = [
            f"its {word} is {came}, and {host.redacted} lists {listed}"
            for word, listed, came in words
            if listed not in {None, came}
        ]
        return "; ".join(wrong)

    # a made-up digest stands in entries that only carry locators: any bytes will do
    asked = [Entry(name, "0" * 64, file.size, dict(file.locators)) for name, file in unknown.items()]
    came = _hash_by_fetching(lambda _: [host], asked, check, _settings(host), show_progress)
    for name, (size, sha256) in came.items():
        digests[name], sizes[name] = sha256, size
    entries = [Entry(name, digests[name], sizes[name], dict(hosted[name].locators)) for name in sorted(hosted)]
    return entries, skipped


def _settings(host: Host) -> Settings:
    """The user typed the host's name, as in ``publish``: its server may get the user's credentials."""
    settings = engine_settings()
    settings.named_hosts = [host.spec]
    return settings


def entries_of(rows: Sequence[Row], dataurl: str, *, show_progress: bool = True) -> list[Entry]:
    """The entries of a list's rows; files that have another hash than sha256 are downloaded, compared and hashed.

    Raises `RegistryError` where nothing says from where, `NeedsNetwork`, and `FetchErrors`.
    """
    weak = {row.name: row for row in rows if row.algorithm != "sha256"}
    for row in weak.values():
        if not row.urls and not dataurl:
            raise RegistryError(
                f"{row.origin}: it has the {row.algorithm} of {row.name!r}, and dataferry needs its sha256: "
                "give --dataurl URL, and dataferry downloads the file once to compute it"
            )
    if weak and (reason := offline_reason()):
        raise NeedsNetwork("the sha256 of the list's files", [("hosts", f"not asked: {reason}")])

    def check(name: str, path: Path, stamp: Stamp) -> str:
        row = weak[name]
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, row.algorithm).hexdigest()
        if row.size not in {None, stamp.size}:
            return f"it has {stamp.size} bytes, and the list says {row.size}"
        return "" if digest == row.digest else f"its {row.algorithm} is {digest}, not {row.digest}"

    def hosts(entry: Entry) -> list[str | Host]:
        return [*map(FileHost, weak[entry.name].urls), *([dataurl] if dataurl else [])]

    asked = [Entry(row.name, "0" * 64) for row in weak.values()]
    found = _hash_by_fetching(hosts, asked, check, engine_settings(), show_progress)
    rehashed = [
        row._replace(algorithm="sha256", digest=found[row.name][1]) if row.name in found else row for row in rows
    ]
    return [row.entry._replace(size=found[row.name][0] if row.name in found else row.size) for row in rehashed]


def _hash_by_fetching(
    hosts: Callable[[Entry], Sequence[str | Host]],
    asked: Sequence[Entry],
    check: Callable[[str, Path, Stamp], str],
    settings: Settings,
    show_progress: bool,
) -> dict[str, tuple[int, str]]:
    """Size and sha256 of files; ``check`` says why one is not the right one."""
    if not asked:
        return {}
    found: dict[str, tuple[int, str]] = {}
    errors: list[FileUnavailable | WrongBytes] = []

    def hash_it(item: Wanted, path: Path) -> None:
        stamp = hash_file(path, md5=True)
        if problem := check(item.name, path, stamp):
            errors.append(WrongBytes(f"{item.name!r}: {problem}"))
        found[item.name] = stamp.size, stamp.sha256

    options = FetchOptions(progress=show_progress)
    base = "https://list.invalid/"  # two names may have one URL
    results = fetch_and_drop(hosts, asked, settings, incoming(), "adopt-", options, hash_it, compare=False, base=base)
    errors += [result for result in results.values() if isinstance(result, FileUnavailable)]
    if errors:
        raise FetchErrors(f"{len(errors)} of {len(asked)} files could not be registered:", errors)
    return found
