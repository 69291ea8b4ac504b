"""Make a plan: what `publish` would do. Only reads, here and at the hosts."""

from __future__ import annotations

import logging
import os
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.store import incoming
from ..errors import AccessDenied, BadName, CacheError, Conflict, DataferryError, NeedsNetwork, PublishError, WrongBytes
from ..files import hash_files
from ..hosts import make_host
from ..hosts.about import read_about
from ..hosts.base import Upload
from ..lookup.options import engine_settings, offline_reason
from ..registry.entry import Entry
from ..registry.names import check_name, check_public, redact_url
from ..threads import in_threads
from .outcome import Action, FilePlan, HostPlan, Plan
from .proof import fetch_back
from .state import Checkpoint, rates_of, read_known

if TYPE_CHECKING:
    from ..hosts.base import HostedFile


_KEEPS_BYTES = "A published name keeps its bytes: give the new ones another name"
_log = logging.getLogger("dataferry")


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
    problems += name_clashes(legal, known.names())
    problems += _not_writable(path)
    uploads = {name: Upload(name, legal[name], d.size, d.sha256, d.md5) for name, d in digests.items()}
    whole = Plan(path, uploads, digests, [], problems, new_version, repair, known, engine_settings(known.timeout))
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
        for found in in_threads(lambda host: _files_of(whole, host, rest, progress), whole.hosts, len(specs)):
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
    names = list(names)
    wanted = set(names)
    every = dict.fromkeys([*names, *registered]) if names else {}
    folded: dict[str, list[str]] = {}
    folders: dict[str, str] = {}
    for name in every:
        folded.setdefault(unicodedata.normalize("NFC", name.casefold()), []).append(name)
        for at, letter in enumerate(name):
            if letter == "/" and name[:at] in every and not wanted.isdisjoint((name, name[:at])):
                folders[name[:at]] = name
    return [
        *(
            BadName(f"{' and '.join(map(repr, same))} are one file on disks that ignore case: rename one of them")
            for same in folded.values()
            if len(same) > 1 and not wanted.isdisjoint(same)
        ),
        *(BadName(f"{a!r} is a file and the folder of {b!r}: rename one of them") for a, b in folders.items()),
    ]


def _host_plan(spec: str, plan: Plan) -> HostPlan:
    host = make_host(spec)
    about = read_about(plan.registry, plan.known.about)
    publisher = host.publisher(plan.settings, about)
    publisher.registered = tuple(plan.registered_hosts())
    check_declared(publisher.declared)  # the dry run says it as well, before anything is uploaded
    return HostPlan(spec, host, publisher, rates=rates_of(host.redacted))


def _not_writable(path: Path) -> list[DataferryError]:
    target = Path(os.path.realpath(path))
    folder = next((f for f in target.parents if f.exists()), target.parent)
    if os.access(folder, os.W_OK | os.X_OK):
        return []
    return [CacheError(f"{path} cannot be written: you have no permission to write in {folder}")]


def _other_bytes(plan: Plan, uploads: Iterable[Upload]) -> dict[str, DataferryError]:
    """Names that the registry has with other bytes, as far as they may not get new ones."""
    problems: dict[str, DataferryError] = {}
    fixed = [host for host in plan.hosts if not host.publisher.versioned]
    next_lines = [host.publisher.next_line for host in fixed]
    how = " ".join([*(f"--to '{line}'" for line in next_lines), "--new-version"])
    for upload in uploads:
        name, entry = upload.name, plan.known.find(upload.name)
        if entry is None or entry.sha256 == upload.sha256 or (plan.new_version and not fixed):
            continue
        remedy = _KEEPS_BYTES
        if plan.new_version:
            names = " and ".join(host.redacted for host in fixed)
            remedy = f"{names} keeps one version of a file only: give the new bytes another name"
        if all(next_lines):
            remedy += f", or publish a new version of the data with {how}"
        there, now = f"{entry.sha256[:12]}...", f"{upload.sha256[:12]}..."
        reason = f"{name!r} is registered with other bytes (sha256 {there} there, {now} now)"
        problems[name] = Conflict(str(plan.registry), reason, remedy)
    return problems


def _hosts_left_behind(plan: Plan) -> list[str]:
    """The hosts of the registry that keep the old bytes of names which get new ones."""
    entries = {name: plan.known.find(name) for name in plan.uploads}
    changed = [name for name, entry in entries.items() if entry and entry.sha256 != plan.uploads[name].sha256]
    served = {line for host in plan.hosts for line in (host.spec, host.declared)}
    others = [redact_url(line) for line in plan.registered_hosts() if line not in served]
    if not changed or not others:
        return []
    what = changed[0] if len(changed) == 1 else f"{len(changed)} files"
    refused = "keep the old bytes, which users of the new registry reject; a new name would work at every host"
    return [f"{what}: {', '.join(others)} {refused}"]


# -- one host ----------------------------------------------------------------------------------------------------------


def _files_of(plan: Plan, host: HostPlan, uploads: Sequence[Upload], progress: bool) -> list[DataferryError]:
    """Check rights, files and limits at a host; the host's plan gets the files, the caller the problems."""
    publisher = host.publisher
    problems = [*_beyond_limits(host, uploads), *_without_locators(plan, host, uploads)]
    occupied: Mapping[str, int] = {}
    try:
        host.who = publisher.check_rights()
        _log.debug("%s: %s", host.redacted, host.who)
        for file in files_at(plan, host, uploads, progress):
            if file.error is None:
                host.files[file.name] = file
            else:
                problems.append(file.error)
        if todo := [file.upload for file in host.to_send]:
            host.remarks = tuple(publisher.remarks(todo))
            if publisher.limits.total_bytes is not None or publisher.limits.files is not None:
                occupied = publisher.occupied()
        trusted = [f for f in host.doing(Action.PUBLISHED) if f.hosted is None or f.hosted.matches(f.upload) is None]
        if trusted:
            why = "by size alone, as the host gives no digest; --repair compares all bytes and replaces damaged files"
            host.remarks = (*host.remarks, f"{len(trusted)} there already {why}")
    except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
        host.failure = as_error(error, host.redacted)
        if isinstance(error, AccessDenied | Conflict):
            problems.append(error)
    if host.to_send or host.failure:
        problems += _beyond_totals(host, uploads, occupied)
    return problems


def files_at(plan: Plan, host: HostPlan, uploads: Sequence[Upload], progress: bool) -> list[FilePlan]:
    """What has to be done with each file at a host as it is now; one in conflict has the error."""
    hosted = host.publisher.hosted(uploads)
    host.declared = host.publisher.declared
    # another machine, or another host, may have registered a file of which this host gives nothing but the size
    proven: Mapping[str, str] = {} if plan.repair else Checkpoint(plan.registry, host.spec).proven
    files = []
    for upload in uploads:
        there = hosted.get(upload.name)
        if there is None:
            files.append(FilePlan(upload, host.redacted, Action.UPLOAD))
        elif (there.matches(upload) or proven.get(upload.name) == upload.sha256) and _is_published(
            plan, host, upload, there
        ):
            files.append(FilePlan(upload, host.redacted, Action.PUBLISHED, there, proven=True))
        else:
            files.append(FilePlan(upload, host.redacted, Action.HOSTED, there, locators=dict(there.locators)))
    # where the host gives no digest, what it has is fetched
    unclear = [file for file in files if file.action == Action.HOSTED]
    to_fetch = [file for file in unclear if file.hosted is not None and file.hosted.matches(file.upload) is None]
    fetched: Mapping[str, str | DataferryError] = {}
    if to_fetch:
        entries = [Entry(file.name, file.upload.sha256, file.size, file.locators) for file in to_fetch]
        workdirs = [Path(incoming()), *(file.upload.path.absolute().parent for file in to_fetch)]
        fetched = fetch_back(host.declared, entries, plan.settings, workdirs, progress, compare=False)
    for file in unclear:
        _decide(file, fetched.get(file.name), plan, host)
    for file in files:
        _log.debug("%s: %s", file.label, file.error or file.action)
    return files


def _decide(file: FilePlan, fetched: str | DataferryError | None, plan: Plan, host: HostPlan) -> None:
    """What has to be done with a file where the host has something under its name."""
    publisher, upload, hosted = host.publisher, file.upload, file.hosted
    if isinstance(fetched, DataferryError):
        reason = f"the host has a file under this name, and it cannot be compared: {fetched}"
        file.action, file.error = Action.CONFLICT, Conflict(file.label, reason)
        return
    if hosted is None or (fetched == upload.sha256 if fetched else hosted.matches(upload)):
        file.compared = fetched is not None
        return
    entry = plan.known.find(file.name)
    damaged = entry is not None and entry.sha256 == upload.sha256 and host.declared in plan.registered_hosts()
    if damaged and plan.repair and publisher.repairs:
        file.action = Action.REPAIR
        return
    if plan.new_version and publisher.versioned:
        file.action = Action.NEW_VERSION
        return
    if damaged:
        remedy = "The registry has your file, so the host's copy is damaged or was changed"
        if publisher.repairs:
            remedy += ": --repair replaces it"
        elif publisher.versioned:
            remedy += ". What an archive has published is immutable: --new-version puts your file into the next version"
        else:
            remedy += ", and this kind of host cannot replace it"
    else:
        remedy = _KEEPS_BYTES
        remedy += ", or publish a new version of the data with --new-version" if publisher.versioned else ""
    other = f"{hosted.size} bytes" if hosted.size not in {None, upload.size} else "with another digest"
    reason = f"the host has another file under this name ({other})"
    file.action, file.error = Action.CONFLICT, Conflict(file.label, reason, remedy)


def _is_published(plan: Plan, host: HostPlan, upload: Upload, hosted: HostedFile) -> bool:
    """Whether the registry has just this file at just this host, as far as the host says."""
    entry = plan.known.find(upload.name)
    return (
        entry is not None
        and (entry.sha256, entry.size) == (upload.sha256, upload.size)
        and host.declared in plan.registered_hosts()
        and hosted.matches(upload) is not False
        and hosted.size is not None
        and all(entry.locators.get(key) == value for key, value in hosted.locators.items())
    )


def _beyond_limits(host: HostPlan, uploads: Iterable[Upload]) -> list[DataferryError]:
    limits = host.publisher.limits
    problems: list[DataferryError] = []
    for upload in uploads:
        reason = host.publisher.problem(upload)
        if limits.file_bytes is not None and upload.size > limits.file_bytes:
            reason = f"it has {upload.size} bytes, and the host takes {limits.file_bytes} per file"
        elif not upload.size and not limits.empty:
            reason = "it is empty, and the host takes no empty files"
        if reason:
            problems.append(PublishError(f"{host.redacted}: {upload.name}", reason))
    return problems


def _beyond_totals(host: HostPlan, uploads: Iterable[Upload], occupied: Mapping[str, int]) -> list[DataferryError]:
    """Whether the host takes all files together, beside what it has."""
    limits, sizes = host.publisher.limits, {upload.name: upload.size for upload in uploads}
    every = {**occupied, **sizes}
    others, total = len(every) - len(sizes), sum(every.values())
    more = f", with the {others} that are there" if others else ""
    problems: list[DataferryError] = []
    if limits.total_bytes is not None and total > limits.total_bytes:
        reason = f"the files have {total} bytes{more}, and {limits.total_bytes} are the most it takes"
        problems.append(
            PublishError(host.redacted, reason, "Publish fewer of them there, and the others to a second host")
        )
    if limits.files is not None and len(every) > limits.files:
        reason = f"these are {len(every)} files{more}, and it takes {limits.files} at the most"
        problems.append(
            PublishError(host.redacted, reason, "Pack small files together, or publish some to a second host")
        )
    return problems


def _without_locators(plan: Plan, host: HostPlan, uploads: Sequence[Upload]) -> list[DataferryError]:
    """A text registry has no locators, so names have to be enough for this host."""
    known = plan.known
    if known.list_path is None or not host.host.locator:
        return []
    listed = [upload for upload in uploads if not known.keeps_locators(upload.name)]
    if all(host.host.sources(upload.name, Entry(upload.name, upload.sha256, upload.size)) for upload in listed):
        return []
    reason = f"it needs an id for each file ({host.host.locator}), and the text registry {known.list_path} has none"
    remedy = f"Remove the key `registry` from {known.path} and publish again: the entries then go to [files]"
    return [PublishError(host.redacted, reason, remedy)]


def as_error(error: Exception, label: str) -> DataferryError:
    """An error of dataferry's own, also for what a host of a third party raises by mistake."""
    if isinstance(error, DataferryError):
        return error
    _log.debug("%s", label, exc_info=error)
    wrapped = PublishError(label, f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


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
