"""Register what a host has already: one's own data that was uploaded by hand, or other people's."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.store import incoming
from ..download.source import Arrived, Wanted
from ..errors import BadName, DataferryError, FetchErrors, NeedsNetwork, PublishError, RegistryError, WrongBytes
from ..files import hash_file
from ..hosts import make_host
from ..hosts.base import checked_files, guarded
from ..lookup.file_url import FileHost
from ..lookup.options import FetchOptions, engine_settings, offline_reason
from ..registry.checksum_lists import Row
from ..registry.entry import Entry
from ..registry.names import check_public, redact_url
from .proof import fetch_and_drop

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..hosts.base import Host


def declared_line(spec: str) -> str:
    """The line for the registry: of a published folder the URL alone, since its path is the author's own business.

    Raises `BadName` if it holds a login, which every user would get.
    """
    host = make_host(spec)
    try:
        return check_public(host.publisher(engine_settings(), {}).declared)
    except PublishError:  # it can only be read from
        return check_public(host.spec)


def entries_at(
    spec: str, patterns: Sequence[str] = (), *, timeout: float | None = None, show_progress: bool = True
) -> tuple[list[Entry], list[str]]:
    """What a host has, as entries with its locators, sorted by name; and what was left out, each with its reason.

    Files whose sha256 the host does not give are fetched to be hashed; nothing of them is kept.

    Raises `BadName` (no such host, no file fits), `NeedsNetwork`, `TransferError` (no list, or the host could not be
    asked) and `FetchErrors`.
    """
    if reason := offline_reason():
        raise NeedsNetwork(f"the list of {redact_url(spec)}", [(f"host {redact_url(spec)}", f"not asked: {reason}")])
    host = make_host(spec)
    # the user typed the host's name, as in ``publish``: its server may get the user's credentials
    settings = engine_settings(timeout)._replace(named_hosts=[host.spec])
    with guarded(host.redacted):
        hosted, skipped = checked_files(host.redacted, host.hosted(settings))
    if patterns:
        hosted = {name: file for name, file in hosted.items() if any(fnmatch.fnmatchcase(name, p) for p in patterns)}
    if not hosted:
        which = f" that matches {' or '.join(patterns)}" if patterns else ""
        left_out = f"; left out: {'; '.join(skipped[:3])}" if skipped else ""
        raise BadName(f"{host.redacted} has no file{which}{left_out}")
    unknown = {name: file for name, file in hosted.items() if not file.sha256}
    rows = [Row(name, "md5", file.md5 or "", file.size) for name, file in unknown.items()]
    locators = {name: dict(file.locators) for name, file in hosted.items()}
    found = _hash_by_fetching(lambda _: [host], rows, locators, settings, show_progress)
    for name, file in hosted.items():
        if file.sha256:
            found[name] = file.size, file.sha256.lower()
    return [Entry(name, found[name][1], found[name][0], locators[name]) for name in sorted(hosted)], skipped


def entries_of(
    rows: Sequence[Row], dataurl: str, *, timeout: float | None = None, show_progress: bool = True
) -> list[Entry]:
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

    primary = [make_host(dataurl)] if weak and dataurl else []

    def hosts(entry: Entry) -> list[Host]:
        return [*map(FileHost, weak[entry.name].urls), *primary]

    found = _hash_by_fetching(hosts, list(weak.values()), {}, engine_settings(timeout), show_progress)
    entries = []
    for row in rows:
        size, sha256 = found.get(row.name, (row.size, row.digest))
        entries.append(row._replace(algorithm="sha256", digest=sha256, size=size).entry)
    return entries


def _hash_by_fetching(
    hosts: Callable[[Entry], Sequence[Host]],
    rows: Sequence[Row],
    locators: Mapping[str, dict[str, str | int]],
    settings: Settings,
    show_progress: bool,
) -> dict[str, tuple[int | None, str]]:
    """Size and sha256 of files, which must have the size and the hash of their row, as far as it has them."""
    if not rows:
        return {}
    known = {row.name: row for row in rows}
    found: dict[str, tuple[int | None, str]] = {}
    errors: list[DataferryError] = []

    def hash_it(item: Wanted, path: Path) -> None:
        row, stamp = known[item.name], hash_file(path)
        new = partial(hashlib.new, row.algorithm, usedforsecurity=False)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, new).hexdigest() if row.digest else ""
        for word, came, listed in ((row.algorithm, digest, row.digest), ("size", stamp.size, row.size)):
            if listed not in {None, came}:
                errors.append(WrongBytes(f"{item.name!r}: its {word} is {came}, not {listed}"))
        found[item.name] = stamp.size, stamp.sha256

    # the digest of such an entry is made up: any bytes will do, and they are compared when they are here
    asked = [Entry(row.name, "0" * 64, locators=locators.get(row.name, {})) for row in rows]
    options = FetchOptions(progress=show_progress)
    base = "https://list.invalid/"  # two names may have one URL
    workdirs = [Path(incoming())]
    results = fetch_and_drop(hosts, asked, settings, workdirs, "adopt-", options, hash_it, compare=False, base=base)
    errors += [result for result in results.values() if not isinstance(result, Arrived)]
    if errors:
        raise FetchErrors(f"{len(errors)} of {len(rows)} files could not be registered:", errors)
    return found
