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
from .compare import KEEPS_BYTES, ask_host
from .state import rates, read_known
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
    specs = [to] if isinstance(to, str) else list(dict.fromkeys(to))
    if not files or not specs:
        raise BadName("there is nothing to publish" if not files else "no host is given to publish to")
    path = Path(registry)
    known = read_known(path)
    legal, problems = _legal_files(files)
    digests, failed = hash_files(legal, md5=True, show=progress)
    problems += failed.values()
    problems += name_clashes(legal, known.names() if known is not None else [])
    problems += _not_writable(path)
    uploads = {name: Upload(name, legal[name], d.size, d.sha256, d.md5) for name, d in digests.items()}
    whole = Plan(path, uploads, digests, [], problems, new_version, repair, known, engine_settings())
    for spec in specs:
        try:
            whole.hosts.append(_host_plan(spec, whole))
        except DataferryError as error:
            problems.append(error)
    changed = _other_bytes(whole, uploads.values())
    problems += changed.values()
    rest = [upload for name, upload in uploads.items() if name not in changed]
    if reason := offline_reason():
        problems.append(NeedsNetwork("publishing", [(redact_url(spec), f"not asked: {reason}") for spec in specs]))
    elif rest:
        for found in in_threads(lambda host: ask_host(whole, host, rest, progress), whole.hosts, len(specs)):
            problems += found
        # whether a host keeps versions may show only when it was asked
        problems += _other_bytes(whole, rest).values()
    whole.remarks = _hosts_left_behind(whole)
    return whole


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


def _host_plan(spec: str, plan: Plan) -> HostPlan:
    host = make_host(spec)
    publisher = host.publisher(
        plan.settings, read_about(plan.registry, plan.known.about if plan.known is not None else {})
    )
    publisher.registered = tuple(plan.registered_hosts())
    check_declared(publisher.declared)  # the dry run says it as well, before anything is uploaded
    measured = rates()
    speeds = measured.get(f"up {host.redacted}"), measured.get(f"back {host.redacted}")
    return HostPlan(spec, host, publisher, rates=speeds)


def _not_writable(path: Path) -> list[DataferryError]:
    place = Path(os.path.realpath(path))
    folder = next((f for f in place.parents if f.exists()), place.parent)
    if os.access(folder, os.W_OK | os.X_OK):
        return []
    return [CacheError(f"{path} cannot be written: no right to write in {folder}")]


def _other_bytes(plan: Plan, uploads: Iterable[Upload]) -> dict[str, DataferryError]:
    """Names that the registry has with other bytes, as far as they may not get new ones."""
    problems: dict[str, DataferryError] = {}
    fixed = [host.host.redacted for host in plan.hosts if not host.publisher.versioned]
    for upload in uploads:
        name, entry = upload.name, plan.registered(upload.name)
        if entry is None or entry.sha256 == upload.sha256 or (plan.new_version and not fixed):
            continue
        if plan.new_version:
            remedy = f"{' and '.join(fixed)} keeps one version of a file only: give the new bytes another name"
        else:
            remedy = KEEPS_BYTES + ("" if fixed else ", or publish a new version of the data with --new-version")
        there, now = f"{entry.sha256[:12]}...", f"{upload.sha256[:12]}..."
        reason = f"{name!r} is registered with other bytes (sha256 {there} there, {now} now)"
        problems[name] = Conflict(str(plan.registry), reason, remedy)
    return problems


def _hosts_left_behind(plan: Plan) -> list[str]:
    """The hosts of the registry that keep the old bytes of names which get new ones."""
    entries = {name: plan.registered(name) for name in plan.uploads}
    changed = [name for name, entry in entries.items() if entry and entry.sha256 != plan.uploads[name].sha256]
    served = {line for host in plan.hosts for line in (host.spec, host.declared)}
    others = [redact_url(line) for line in plan.registered_hosts() if line not in served]
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
