"""Register what a host has already: one's own data that was uploaded by hand, or other people's."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache import store as keeping
from ..errors import BadName, FetchErrors, FileUnavailable, NeedsNetwork, TransferError, WrongBytes
from ..files import hash_file
from ..lookup.configured_hosts import engine_settings, offline_reason
from ..registry.names import check_name
from ..registry.registry import Entry

if TYPE_CHECKING:
    from ..download.fetch import Wanted
    from ..download.source import Source
    from ..hosts.base import Host, HostedFile

__all__ = ["entries_at"]


def entries_at(spec: str, patterns: Sequence[str] = (), *, show_progress: bool = True) -> tuple[list[Entry], list[str]]:
    """What a host has, as entries of a registry.

    Files whose sha256 the host does not tell are fetched to be hashed; nothing of them is kept.

    Parameters
    ----------
    spec : str
        The host, ``figshare:14763051``.
    patterns : sequence of str
        Globs; by default all files.
    show_progress : bool
        Whether to show progress.

    Returns
    -------
    entries : list of Entry
        Sorted by name, with the host's locators.
    passed : list of str
        Files whose name is not legal here, each with the reason.

    Raises
    ------
    BadName
        If `spec` is no host, or no file fits the patterns.
    NeedsNetwork
        If the network is not to be used.
    TransferError
        If the host has no list of its files, or could not be asked.
    FetchErrors
        If files could not be fetched, or are not what the host says of them.
    """
    from ..hosts import make_host
    from ..hosts.base import guarded
    from ..registry.names import redact_url

    if reason := offline_reason():
        raise NeedsNetwork(f"the list of {redact_url(spec)}", [(f"host {redact_url(spec)}", f"not asked: {reason}")])
    host = make_host(spec)
    with guarded(host.redacted):
        there = dict(host.hosted(engine_settings()))
    hosted, passed = {}, []
    for name, told in there.items():
        try:
            hosted[check_name(name)] = told
        except BadName as error:
            passed.append(str(error))
    if patterns:
        hosted = {name: told for name, told in hosted.items() if any(fnmatch.fnmatchcase(name, p) for p in patterns)}
    if not hosted:
        which = f" that fits {' or '.join(patterns)}" if patterns else ""
        raise BadName(f"{host.redacted} has no file{which}")
    digests = {name: told.sha256 for name, told in hosted.items() if told.sha256}
    sizes = {name: told.size for name, told in hosted.items()}
    unknown = {name: told for name, told in hosted.items() if name not in digests}
    for name, (size, sha256) in _hashed(host, unknown, show_progress).items():
        digests[name], sizes[name] = sha256, size
    entries = [Entry(name, digests[name], sizes[name], dict(hosted[name].locators)) for name in sorted(hosted)]
    return entries, passed


def _hashed(host: Host, unknown: Mapping[str, HostedFile], show_progress: bool) -> dict[str, tuple[int, str]]:
    """Size and sha256 of files, by fetching them."""
    from tempfile import TemporaryDirectory

    from ..download.fetch import Wanted, fetch

    if not unknown:
        return {}
    sources, settings = _sources(host, unknown), engine_settings()
    found: dict[str, tuple[int, str]] = {}
    errors: list[FileUnavailable | WrongBytes] = []

    def hash_it(item: Wanted, file: Path) -> Path:
        told = unknown[item.name]
        try:
            is_now = hash_file(file, md5=True)
            for word, wanted, got in (
                ("md5", told.md5, is_now.md5),
                ("sha256", told.sha256, is_now.sha256),
                ("size", told.size, is_now.size),
            ):
                if wanted not in {None, got}:
                    raise WrongBytes(f"{item.name!r}: its {word} is {got}, and {host.redacted} tells {wanted}")
            found[item.name] = is_now.size, is_now.sha256
        except WrongBytes as error:
            errors.append(error)
        file.unlink()
        return file

    with TemporaryDirectory(prefix="adopt-", dir=keeping.incoming()) as folder:
        results = fetch(
            [Wanted(name, sources[name][0].url, None, None, tuple(sources[name])) for name in unknown],
            find=lambda _: None,
            store=hash_it,
            workdir=Path(folder),
            settings=settings,
            progress=show_progress,
        )
    errors += [result for result in results if isinstance(result, FileUnavailable)]
    if errors:
        raise FetchErrors(f"{len(errors)} of {len(unknown)} files could not be registered:", errors)
    return found


def _sources(host: Host, unknown: Mapping[str, HostedFile]) -> dict[str, Sequence[Source]]:
    from ..hosts.base import guarded

    # the digest is what is asked for, so a made-up one stands in entries that only carry locators
    entries = {
        name: Entry(name, told.sha256 or "0" * 64, told.size, dict(told.locators)) for name, told in unknown.items()
    }
    with guarded(host.redacted):
        sources: dict[str, Sequence[Source]] = {name: host.sources(name, entry) for name, entry in entries.items()}
        missing = {name: entries[name] for name, several in sources.items() if not several}
        if missing:
            sources |= host.look_up(missing, engine_settings())
    if lost := [name for name, several in sources.items() if not several]:
        raise TransferError(host.redacted, f"tells of {lost[0]!r}, and not where it is", kind="list", final=True)
    return sources
