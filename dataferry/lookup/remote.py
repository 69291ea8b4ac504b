"""The part of `PackageData` that needs astropy or knows of the network: its cache, the hosts, what to say of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cache import astropy_cache
from ..cache import store as keeping
from ..config.settings import Settings, load_settings
from ..errors import Failure, FileUnavailable, Offline
from ..registry.names import close_names, redact_url
from ..registry.registry import Entry
from .candidates import Places, Verdict
from .declared import declared_hosts
from .report import Step

if TYPE_CHECKING:
    from ..download.source import Source

__all__ = [
    "cached",
    "engine_settings",
    "host_steps",
    "look_closer",
    "not_registered",
    "offline_reason",
    "prefetch",
    "sources",
    "stall_timeout",
]


def cached(places: Places, name: str, entry: Entry | None) -> tuple[str | None, Verdict]:
    """Look for a file in astropy's cache.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    entry : Entry or None
        What it must be; None accepts any.

    Returns
    -------
    (str or None, Verdict)
        The readable path, or None, and what was found.
    """
    url = places.registry.base + name
    if entry is not None:
        return keeping.cached(places, entry, url)
    contents = astropy_cache.find_entry(url)
    if contents is None:
        return None, Verdict(False, "not there", kind="absent")
    return keeping.readable(places, name, contents), Verdict(True, "not registered, so not verified")


def offline_reason() -> str:
    """Why the network is not to be used; empty where it may be."""
    return load_settings().offline or ("" if astropy_cache.internet_allowed() else "astropy's allow_internet is False")


def engine_settings() -> Settings:
    """The settings for a transfer, with what astropy's configuration adds to the user agent."""
    settings = load_settings()
    settings.agent = astropy_cache.astropy_user_agent()
    return settings


def stall_timeout(places: Places) -> float:
    """Seconds without progress after which a host is given up: the package's, or what the user gave astropy, or 30."""
    return places.registry.timeout or astropy_cache.astropy_timeout() or 30.0


def sources(places: Places, name: str, entry: Entry | None) -> list[Source]:
    """Where hosts would have a file.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    entry : Entry or None
        What the registry knows of it.

    Returns
    -------
    list of Source
        At least one, best first.

    Raises
    ------
    Offline
        If the network is not to be used.
    FileUnavailable
        If no host has it.
    """
    hosts = list(declared_hosts(places, name, entry))
    offline = offline_reason()
    if offline:
        tried = [Failure(f"host {redact_url(spec)}", f"not asked: {offline}", "offline") for spec, _ in hosts]
        raise Offline(name, tried, prefetch(places, name))
    found = [source for _, several in hosts if not isinstance(several, str) for source in several]
    if not found:
        tried = [Failure(f"host {redact_url(spec)}", str(reason)) for spec, reason in hosts]
        raise FileUnavailable(name, tried, f"{places.registry.path} declares no host that can be asked")
    return found


def host_steps(places: Places, name: str, entry: Entry | None, *, needed: bool) -> list[Step]:
    """The hosts as steps of `PackageData.where`.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    entry : Entry or None
        What the registry knows of it.
    needed : bool
        Whether the file is not on this machine.

    Returns
    -------
    list of Step
        One for each declared host.
    """
    offline = offline_reason() if needed else ""
    steps = []
    for spec, several in declared_hosts(places, name, entry):
        origin = "dataurl" if spec == places.registry.dataurl else "mirror"
        if isinstance(several, str):
            steps.append(Step("host", redact_url(spec), origin, False, several))
        else:
            note = (f"not asked: {offline}" if offline else "would be asked") if needed else "not needed"
            steps += [Step("host", source.redacted, origin, False, note) for source in several]
    return steps


def not_registered(places: Places, name: str) -> str:
    """What to say of a name that the registry does not list."""
    close = close_names(name, places.registry.names())
    hint = f"; registered are {' and '.join(map(repr, close))}" if close else ""
    return f"{name!r} is not registered in {places.registry.path}{hint}"


def prefetch(places: Places, name: str) -> str:
    """The command that fetches a file on a machine with a network."""
    return f"where there is a network, run: {_command('get', places, name)}"


def look_closer(places: Places, name: str) -> str:
    """The command that shows each step of the way to a file."""
    return f"each step is shown by: {_command('where', places, name)}"


def _command(verb: str, places: Places, name: str) -> str:
    import shlex

    apart = [] if places.installed else ["--registry", str(places.registry.path)]
    return shlex.join(["dataferry", verb, places.package, name, *apart])
