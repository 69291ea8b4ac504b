"""Compare the files with what one host has and takes. Only reads, also at the host."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.store import incoming
from ..errors import AccessDenied, Conflict, DataferryError, PublishError
from ..registry.registry import Entry
from .proof import fetch_back
from .state import Checkpoint
from .steps import CONFLICT, HOSTED, NEW_VERSION, PUBLISHED, REPAIR, UPLOAD, HostPlan, Plan, Step

if TYPE_CHECKING:
    from ..hosts.base import HostedFile, Publisher, Upload

__all__ = ["KEEPS_BYTES", "as_error", "ask_host", "steps_at"]

KEEPS_BYTES = "A published name keeps its bytes: give the new ones another name"
_log = logging.getLogger("dataferry")


def as_error(error: Exception, place: str) -> DataferryError:
    """An error of dataferry's own, also for what a host of a third party raises by mistake."""
    if isinstance(error, DataferryError):
        return error
    _log.debug("%s", place, exc_info=error)
    wrapped = PublishError(place, f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def ask_host(plan: Plan, host: HostPlan, uploads: Sequence[Upload], progress: bool) -> list[DataferryError]:
    """Ask a host for its rights, files and limits; the host's plan gets the steps, the caller the problems."""
    place, publisher = host.host.redacted, host.publisher
    problems = [*_beyond_limits(place, publisher, uploads), *_without_locators(plan, host, uploads)]
    occupied: Mapping[str, int] = {}
    try:
        host.who = publisher.check_rights()
        _log.debug("%s: %s", place, host.who)
        for step in steps_at(plan, host, uploads, progress):
            if step.error is None:
                host.steps[step.name] = step
            else:
                problems.append(step.error)
        if todo := [step.upload for step in host.to_send]:
            host.remarks = tuple(publisher.remarks(todo))
            if publisher.limits.total_bytes is not None or publisher.limits.files is not None:
                occupied = publisher.occupied()
    except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
        host.failure = as_error(error, place)
        if isinstance(error, AccessDenied | Conflict):
            problems.append(error)
    if host.to_send or host.failure:
        problems += _beyond_totals(place, publisher, uploads, occupied)
    return problems


def steps_at(plan: Plan, host: HostPlan, uploads: Sequence[Upload], progress: bool) -> list[Step]:
    """What has to be done with each file at a host as it is now; a step of a conflict has the error."""
    place = host.host.redacted
    hosted = host.publisher.hosted(uploads)
    host.declared = host.publisher.declared
    # another machine, or another host, may have registered a file of which this host gives nothing but the size
    proven: Mapping[str, str] = {} if plan.repair else Checkpoint(plan.registry, host.spec).proven
    steps = []
    for upload in uploads:
        there = hosted.get(upload.name)
        if there is None:
            steps.append(Step(upload, place, UPLOAD))
        elif (there.matches(upload) or proven.get(upload.name) == upload.sha256) and _is_published(
            plan, host, upload, there
        ):
            steps.append(Step(upload, place, PUBLISHED, there, proven=True))
        else:
            steps.append(Step(upload, place, HOSTED, there, locators=dict(there.locators)))
    # where the host gives no digest, what it has is fetched
    unclear = [step for step in steps if step.action == HOSTED]
    to_fetch = [step for step in unclear if step.hosted is not None and step.hosted.matches(step.upload) is None]
    fetched: Mapping[str, str | DataferryError] = {}
    if to_fetch:
        entries = [Entry(step.name, step.upload.sha256, step.size, step.locators) for step in to_fetch]
        workdirs = [Path(incoming()), *(step.upload.path.absolute().parent for step in to_fetch)]
        fetched = fetch_back(host.declared, entries, plan.settings, workdirs, progress, compare=False)
    for step in unclear:
        _decide(step, fetched.get(step.name), plan, host)
    for step in steps:
        _log.debug("%s: %s: %s", place, step.name, step.error or step.action)
    return steps


def _decide(step: Step, fetched: str | DataferryError | None, plan: Plan, host: HostPlan) -> None:
    """What has to be done with a file where the host has something under its name."""
    place, publisher, upload, hosted = f"{step.host}: {step.name}", host.publisher, step.upload, step.hosted
    if isinstance(fetched, DataferryError):
        reason = f"the host has a file under this name, and it cannot be compared: {fetched}"
        step.action, step.error = CONFLICT, Conflict(place, reason)
        return
    if hosted is None or (fetched == upload.sha256 if fetched else hosted.matches(upload)):
        step.compared = fetched is not None
        return
    entry = plan.registered(step.name)
    damaged = entry is not None and entry.sha256 == upload.sha256 and host.declared in plan.registered_hosts()
    if damaged and plan.repair and publisher.repairs:
        step.action = REPAIR
        return
    if plan.new_version and publisher.versioned:
        step.action = NEW_VERSION
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
        remedy = KEEPS_BYTES
        remedy += ", or publish a new version of the data with --new-version" if publisher.versioned else ""
    other = f"{hosted.size} bytes" if hosted.size not in {None, upload.size} else "with another digest"
    reason = f"the host has another file under this name ({other})"
    step.action, step.error = CONFLICT, Conflict(place, reason, remedy)


def _is_published(plan: Plan, host: HostPlan, upload: Upload, hosted: HostedFile) -> bool:
    """Whether the registry has just this file at just this host, as far as the host says."""
    entry = plan.registered(upload.name)
    return (
        entry is not None
        and (entry.sha256, entry.size) == (upload.sha256, upload.size)
        and host.declared in plan.registered_hosts()
        and hosted.matches(upload) is not False
        and hosted.size is not None
        and all(entry.locators.get(key) == value for key, value in hosted.locators.items())
    )


def _beyond_limits(place: str, publisher: Publisher, uploads: Iterable[Upload]) -> list[DataferryError]:
    limits = publisher.limits
    problems: list[DataferryError] = []
    for upload in uploads:
        reason = publisher.problem(upload)
        if limits.file_bytes is not None and upload.size > limits.file_bytes:
            reason = f"it has {upload.size} bytes, and the host takes {limits.file_bytes} in one file at the most"
        elif not upload.size and not limits.empty:
            reason = "it is empty, and the host takes no empty files"
        if reason:
            problems.append(PublishError(f"{place}: {upload.name}", reason))
    return problems


def _beyond_totals(
    place: str, publisher: Publisher, uploads: Iterable[Upload], occupied: Mapping[str, int]
) -> list[DataferryError]:
    """Whether the host takes all files together, beside what it has."""
    limits, sizes = publisher.limits, {upload.name: upload.size for upload in uploads}
    every = {**occupied, **sizes}
    others = occupied.keys() - sizes.keys()
    more = f", with the {len(others)} that are there" if others else ""
    problems: list[DataferryError] = []
    total = sum(every.values())
    if limits.total_bytes is not None and total > limits.total_bytes:
        reason = f"the files have {total} bytes{more}, and {limits.total_bytes} are the most it takes"
        problems.append(PublishError(place, reason, "Publish fewer of them there, and the others to a second host"))
    if limits.files is not None and len(every) > limits.files:
        reason = f"these are {len(every)} files{more}, and it takes {limits.files} at the most"
        problems.append(PublishError(place, reason, "Pack small files together, or publish some to a second host"))
    return problems


def _without_locators(plan: Plan, host: HostPlan, uploads: Sequence[Upload]) -> list[DataferryError]:
    """A text registry has no locators, so names have to be enough for this host."""
    known = plan.known
    if known is None or known.list_path is None or not host.host.locator:
        return []
    listed = [upload for upload in uploads if not known.keeps_locators(upload.name)]
    if all(host.host.sources(upload.name, Entry(upload.name, upload.sha256, upload.size)) for upload in listed):
        return []
    reason = f"it needs an id for each file ({host.host.locator}), and the text registry {known.list_path} holds none"
    remedy = f"Take the key `registry` out of {known.path} and publish again: the entries go to its [files] then"
    return [PublishError(host.host.redacted, reason, remedy)]
