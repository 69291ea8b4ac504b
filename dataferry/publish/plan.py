"""Make a plan: what `publish` would do. Only reads, here and at the hosts."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import BadName, CacheError, Conflict, DataferryError, NeedsNetwork, PublishError, WrongBytes
from ..files import hash_files
from ..hosts import make_host
from ..hosts.about import read_about
from ..hosts.base import Upload
from ..lookup.configured_hosts import engine_settings, offline_reason
from ..registry.names import check_name, check_public, redact_url
from .compare import Request, ask_host
from .state import KnownRegistry, rates, read_known
from .steps import HostPlan, Plan
from .threads import in_threads

__all__ = ["check_declared", "name_clashes", "plan", "series_of"]


def plan(
    files: Mapping[str, str | os.PathLike[str]],
    to: str | Sequence[str],
    registry: str | os.PathLike[str],
    *,
    new_version: bool = False,
    repair: bool = False,
    progress: bool = True,
) -> Plan:
    """Plan what `publish` would do, and change nothing.

    Parameters
    ----------
    files : mapping of str to path-like
        Name -> file.
    to : str or sequence of str
        Hosts.
    registry : path-like
        The ``dataferry.toml``, which need not exist.
    new_version : bool
        Whether a registered name may get other bytes.
    repair : bool
        Whether to replace damaged copies of registered files, at hosts that allow it.
    progress : bool
        Whether to show the progress of hashing.

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
    request = Request(path, read_known(path), engine_settings(), new_version, repair, progress)
    known = request.known
    legal, problems = _legal_files(files)
    digests, failed = hash_files(legal, md5=True, show=progress)
    problems += failed.values()
    problems += name_clashes(legal, known.names() if known else [])
    problems += _not_writable(path)
    uploads = {name: Upload(name, legal[name], d.size, d.sha256, d.md5) for name, d in digests.items()}
    hosts = []
    for spec in specs:
        try:
            hosts.append(_host_plan(spec, request))
        except DataferryError as error:
            problems.append(error)
    changed = _other_bytes(uploads, hosts, request)
    problems += changed.values()
    rest = {name: upload for name, upload in uploads.items() if name not in changed}
    if reason := offline_reason():
        problems.append(NeedsNetwork("publishing", [(redact_url(spec), f"not asked: {reason}") for spec in specs]))
    elif rest:
        problems += _ask_hosts(hosts, rest, request)
        # whether a host keeps versions may show only when it was asked
        problems += _other_bytes(rest, hosts, request).values()
    remarks = _hosts_left_behind(uploads, hosts, request)
    return Plan(path, uploads, digests, hosts, problems, new_version, repair, remarks)


def _legal_files(files: Mapping[str, str | os.PathLike[str]]) -> tuple[dict[str, Path], list[DataferryError]]:
    legal: dict[str, Path] = {}
    problems: list[DataferryError] = []
    for name, file in files.items():
        path = Path(file)
        try:
            check_name(name)
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would wait for ever
                raise WrongBytes(f"{path}: not a regular file")
            legal[name] = path
        except (BadName, WrongBytes) as error:
            problems.append(error)
    return legal, problems


def name_clashes(names: Iterable[str], registered: Iterable[str]) -> list[DataferryError]:
    """Names that would be one file on disks that ignore case, or a file and a folder at once."""
    wanted = list(names)
    every = list(dict.fromkeys([*wanted, *registered]))
    if not wanted:
        return []
    folded: dict[str, list[str]] = {}
    for name in every:
        folded.setdefault(unicodedata.normalize("NFC", name.casefold()), []).append(name)
    folders = {name[:at] for name in every for at, c in enumerate(name) if c == "/"}
    new = set(wanted)
    problems: list[DataferryError] = [
        BadName(f"{' and '.join(map(repr, same))} are one file on disks that ignore case: rename one of them")
        for same in folded.values()
        if len(same) > 1 and new & set(same)
    ]
    for name in every:
        if name in folders and (name in new or any(other.startswith(f"{name}/") for other in wanted)):
            below = next(other for other in every if other.startswith(f"{name}/"))
            problems.append(BadName(f"{name!r} is a file and the folder of {below!r}: rename one of them"))
    return problems


def _host_plan(spec: str, request: Request) -> HostPlan:
    host, known = make_host(spec), request.known
    publisher = host.publisher(request.settings, read_about(request.registry, known.about if known else {}))
    publisher.registered = tuple(filter(None, (known.dataurl, *known.mirrors))) if known else ()
    check_declared(publisher.declared)  # the dry run says it as well, before anything is uploaded
    return HostPlan(spec, host, publisher)


def _ask_hosts(hosts: Sequence[HostPlan], uploads: Mapping[str, Upload], request: Request) -> list[DataferryError]:
    """Ask all hosts at the same time; the problems of all."""
    measured = rates()
    for host in hosts:
        host.rates = (measured.get(f"up {host.host.redacted}"), measured.get(f"back {host.host.redacted}"))
    answers = in_threads(lambda host: ask_host(host, uploads, request), hosts, len(hosts))
    return [problem for problems in answers for problem in problems]


def _not_writable(path: Path) -> list[DataferryError]:
    place = Path(os.path.realpath(path))
    folder = next((f for f in place.parents if f.exists()), place.parent)
    if os.access(folder, os.W_OK | os.X_OK):
        return []
    return [CacheError(f"{path} cannot be written: no right to write in {folder}")]


def _other_bytes(
    uploads: Mapping[str, Upload], hosts: Sequence[HostPlan], request: Request
) -> dict[str, DataferryError]:
    """Names that the registry has with other bytes, as far as they may not get new ones."""
    problems: dict[str, DataferryError] = {}
    fixed = [plan.host.redacted for plan in hosts if plan.publisher is None or not plan.publisher.versioned]
    for name, upload in uploads.items():
        entry = request.known.find(name) if request.known else None
        if entry is None or entry.sha256 == upload.sha256:
            continue
        if not request.new_version:
            remedy = "A published name keeps its bytes: give the new ones another name"
            if not fixed:
                remedy += ", or publish a new version of the data with --new-version"
        elif fixed:
            remedy = f"{' and '.join(fixed)} keeps one version of a file only: give the new bytes another name"
        else:
            continue
        there, now = f"{entry.sha256[:12]}...", f"{upload.sha256[:12]}..."
        reason = f"{name!r} is registered with other bytes (sha256 {there} there, {now} now)"
        problems[name] = Conflict(str(request.registry), reason, remedy)
    return problems


def _hosts_left_behind(uploads: Mapping[str, Upload], hosts: Sequence[HostPlan], request: Request) -> list[str]:
    """The hosts of the registry that keep the old bytes of names which get new ones."""
    known: KnownRegistry | None = request.known
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


def check_declared(spec: str) -> str:
    """Return a line for the registry if it holds no secret; `PublishError` otherwise."""
    try:
        return check_public(spec)
    except BadName as error:
        reason = "its declaration holds a user or a password, or another secret, which every user would get"
        raise PublishError(redact_url(spec), reason, str(error)) from None


def series_of(spec: str) -> str:
    """What joins the releases of one data set, see `dataferry.hosts.base.Host`; empty for other hosts."""
    try:
        return make_host(spec).series
    except DataferryError:  # its kind is not installed here
        return ""
