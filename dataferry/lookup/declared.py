"""The hosts of a package: who may have a file, from the declaration alone, or by asking them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import DataferryError, Failure
from ..registry.names import redact_url
from ..registry.registry import Entry
from .candidates import Places

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..download.source import Source
    from ..hosts.base import Host

__all__ = ["declared_hosts", "host_specs", "look_up"]


def host_specs(places: Places) -> list[str]:
    """The lines that declare hosts, in the order in which they are asked.

    Parameters
    ----------
    places : Places
        The places of the package.

    Returns
    -------
    list of str
        The user's mirrors, which are nearer than the author's hosts; the primary host; the author's mirrors.
    """
    primary = [places.registry.dataurl] if places.registry.dataurl else []
    own = places.settings.package(places.package).mirrors
    return list(dict.fromkeys([*own, *primary, *places.registry.mirrors]))


def declared_hosts(places: Places, name: str, entry: Entry | None) -> Iterator[tuple[str, Sequence[Source] | str]]:
    """Every host with a file's sources there, as far as the declaration and the registry tell them.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    entry : Entry or None
        What the registry knows of it.

    Yields
    ------
    (str, sequence of Source or str)
        The line that declares the host, and its sources or the reason why it has none.
    """
    from ..hosts import make_host
    from ..hosts.base import guarded

    for spec in host_specs(places):
        told: Sequence[Source] | str
        try:
            with guarded(redact_url(spec)):
                host = make_host(spec)
                without = "it has to be asked where the file is" if _can_look_up(host) else "it has no such file"
                told = list(host.sources(name, entry)) or without
        except DataferryError as error:
            told = str(error)
        yield spec, told


def look_up(
    places: Places, names: Sequence[str], settings: Settings
) -> tuple[dict[str, list[Source]], dict[str, list[Failure]]]:
    """Ask the hosts for files that no declaration leads to.

    Parameters
    ----------
    places : Places
        The places of the package.
    names : sequence of str
        The files.
    settings : Settings
        The settings for transfers.

    Returns
    -------
    found : dict of str to list of Source
        What the hosts say, best first; a file that none of them has is missing.
    reasons : dict of str to list of Failure
        For each file the hosts that could not say, and why.
    """
    from ..hosts import make_host
    from ..hosts.base import guarded

    found: dict[str, list[Source]] = {}
    reasons: dict[str, list[Failure]] = {}
    for spec in host_specs(places):
        wanted = {name: places.registry.find(name) for name in names}
        try:
            with guarded(redact_url(spec)):
                host = make_host(spec)
                if not _can_look_up(host):
                    continue
                told = {name: list(sources) for name, sources in host.look_up(wanted, settings).items()}
        except DataferryError as error:
            failure = Failure(f"host {redact_url(spec)}", str(error), getattr(error, "kind", "error"))
            for name in names:
                reasons.setdefault(name, []).append(failure)
            continue
        for name, sources in told.items():
            found.setdefault(name, []).extend(sources)
    return found, reasons


def _can_look_up(host: Host) -> bool:
    from ..hosts.base import Host

    return type(host).look_up is not Host.look_up
