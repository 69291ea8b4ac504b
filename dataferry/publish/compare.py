"""Compare the files with what one host has and takes. Only reads, also at the host."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.store import incoming
from ..errors import AccessDenied, Conflict, DataferryError, PublishError
from ..registry.registry import Entry
from .proof import Proof
from .state import Checkpoint
from .steps import HOSTED, NEW_VERSION, PUBLISHED, REPAIR, UPLOAD, HostPlan, Step

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..hosts.base import HostedFile, Publisher, Upload
    from .state import KnownRegistry

__all__ = ["Request", "as_error", "ask_host", "steps_at"]

_log = logging.getLogger("dataferry")


@dataclass(frozen=True, slots=True)
class Request:
    """What the author asks for, and what the registry has already."""

    registry: Path
    known: KnownRegistry | None
    settings: Settings
    new_version: bool
    repair: bool
    progress: bool


def as_error(error: Exception, place: str) -> DataferryError:
    """An error of dataferry's own, also for what a host of a third party raises by mistake."""
    if isinstance(error, DataferryError):
        return error
    _log.debug("%s", place, exc_info=error)
    wrapped = PublishError(place, f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def ask_host(plan: HostPlan, uploads: Mapping[str, Upload], request: Request) -> list[DataferryError]:
    """Ask a host for its rights, files and limits; the plan gets the steps, the caller the problems."""
    publisher = plan.publisher
    if publisher is None:
        return []
    place = plan.host.redacted
    problems = _beyond_limits(place, publisher, uploads.values())
    problems += _no_room_for_locators(plan, uploads, request.known)
    steps: dict[str, Step | DataferryError] = {}
    try:
        plan.who = publisher.check_rights()
        _log.debug("%s: %s", place, plan.who)
        steps = steps_at(plan, list(uploads.values()), request)
        plan.steps |= {name: step for name, step in steps.items() if isinstance(step, Step)}
        if todo := [step.upload for step in plan.to_send]:
            plan.remarks = tuple(publisher.remarks(todo))
            limited = publisher.limits.total_bytes is not None or publisher.limits.files is not None
            problems += _beyond_totals(place, publisher, uploads.values(), publisher.occupied() if limited else {})
    except (AccessDenied, Conflict) as error:
        plan.failure = error
        return [*problems, *_beyond_totals(place, publisher, uploads.values(), {}), error]
    except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
        plan.failure = as_error(error, place)
        return [*problems, *_beyond_totals(place, publisher, uploads.values(), {})]
    return [*problems, *(step for step in steps.values() if not isinstance(step, Step))]


def steps_at(plan: HostPlan, uploads: Sequence[Upload], request: Request) -> dict[str, Step | DataferryError]:
    """Name -> what has to be done with each file at a host as it is now, or what is wrong."""
    publisher = plan.publisher
    if publisher is None:
        return {}
    hosted = publisher.hosted(uploads)
    plan.declared = publisher.declared
    # another machine, or another host, may have registered a file of which this host gives nothing but the size
    proven = {} if request.repair else Checkpoint(request.registry, plan.spec).proven
    published = {
        upload.name
        for upload in uploads
        if upload.name in hosted
        and _is_published(publisher, upload, hosted[upload.name], request.known)
        and (hosted[upload.name].matches(upload) or proven.get(upload.name) == upload.sha256)
    }
    unclear = [u for u in uploads if u.name in hosted and u.name not in published]
    fetched = _fetch_unclear(plan, [u for u in unclear if hosted[u.name].matches(u) is None], hosted, request)
    steps: dict[str, Step | DataferryError] = {}
    for upload in uploads:
        name = upload.name
        if name not in hosted:
            steps[name] = Step(upload, UPLOAD)
        elif name in published:
            steps[name] = Step(upload, PUBLISHED, hosted[name])
        else:
            steps[name] = _step(plan, upload, hosted[name], fetched.get(name), request)
        step = steps[name]
        _log.debug("%s: %s: %s", plan.host.redacted, name, step.action if isinstance(step, Step) else step)
    return steps


def _step(
    plan: HostPlan, upload: Upload, hosted: HostedFile, fetched: str | DataferryError | None, request: Request
) -> Step | DataferryError:
    """What has to be done with a file where the host has something under its name."""
    place, publisher = f"{plan.host.redacted}: {upload.name}", plan.publisher
    versioned = publisher is not None and publisher.versioned
    entry = request.known.find(upload.name) if request.known else None
    damaged = entry is not None and entry.sha256 == upload.sha256 and plan.declared in _hosts(request.known)
    if isinstance(fetched, DataferryError):
        return Conflict(place, f"the host has a file under this name, and it cannot be compared: {fetched}")
    if fetched == upload.sha256 if fetched else hosted.matches(upload):
        return Step(upload, HOSTED, hosted, proven=fetched is not None)
    if damaged and request.repair and publisher is not None and publisher.repairs:
        return Step(upload, REPAIR, hosted)
    if request.new_version and versioned:
        return Step(upload, NEW_VERSION, hosted)
    other = f"{hosted.size} bytes" if hosted.size not in {None, upload.size} else "with another digest"
    if damaged:
        remedy = "The registry has your file, so the host's copy is damaged or was changed"
        can = publisher is not None and publisher.repairs
        remedy += ": --repair replaces it" if can else ", and this kind of host cannot replace it"
    else:
        remedy = "A published name keeps its bytes: give the new ones another name"
        remedy += ", or publish a new version of the data with --new-version" if versioned else ""
    return Conflict(place, f"the host has another file under this name ({other})", remedy)


def _fetch_unclear(
    plan: HostPlan, uploads: Sequence[Upload], hosted: Mapping[str, HostedFile], request: Request
) -> dict[str, str | DataferryError]:
    """The sha256 of what a host has, fetched where the host gives no digest."""
    if not uploads:
        return {}
    entries = [Entry(u.name, u.sha256, u.size, hosted[u.name].locators) for u in uploads]
    proof = Proof(plan.declared, request.settings, Path(incoming()), [u.path for u in uploads])
    return proof.fetch(entries, request.progress, compare=True)


def _hosts(known: KnownRegistry | None) -> tuple[str, ...]:
    return (known.dataurl, *known.mirrors) if known is not None else ()


def _is_published(publisher: Publisher, upload: Upload, hosted: HostedFile, known: KnownRegistry | None) -> bool:
    """Whether the registry has just this file at just this host, as far as the host says."""
    entry = known.find(upload.name) if known is not None else None
    if entry is None or (entry.sha256, entry.size) != (upload.sha256, upload.size):
        return False
    if publisher.declared not in _hosts(known) or hosted.matches(upload) is False:
        return False
    return hosted.size is not None and all(entry.locators.get(key) == value for key, value in hosted.locators.items())


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


def _no_room_for_locators(
    plan: HostPlan, uploads: Mapping[str, Upload], known: KnownRegistry | None
) -> list[DataferryError]:
    """A text registry has no locators, so names have to be enough for this host."""
    if known is None or known.list_file is None or not plan.host.locator:
        return []
    listed = [name for name in uploads if not known.keeps_locators(name)]
    if all(plan.host.sources(name, Entry(name, uploads[name].sha256, uploads[name].size)) for name in listed):
        return []
    return [
        PublishError(
            plan.host.redacted,
            f"it needs an id for each file ({plan.host.locator}), and the text registry {known.list_file} holds none",
            f"Take the key `registry` out of {known.path} and publish again: the entries go to its [files] then",
        )
    ]
