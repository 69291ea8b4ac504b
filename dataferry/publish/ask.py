"""Ask hosts what they would take and what they have."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import AccessDenied, Conflict, DataferryError, PublishError
from ..registry.registry import Entry
from .compare import Ground, steps_at
from .crew import at_once
from .notes import rates
from .plan import NEW_VERSION, UPLOAD, HostPlan, Step

if TYPE_CHECKING:
    from ..hosts.base import Publisher, Upload
    from .known import Known

__all__ = ["as_error", "ask"]


def ask(
    hosts: Sequence[HostPlan],
    uploads: Mapping[str, Upload],
    ground: Ground,
) -> list[DataferryError]:
    """Ask all hosts at the same time, and note in their plans what has to be done.

    Parameters
    ----------
    hosts : sequence of HostPlan
        The hosts.
    uploads : mapping of str to Upload
        The files.
    ground : Ground
        What the plan stands on.

    Returns
    -------
    list of DataferryError
        What keeps the run from beginning.
    """
    if not hosts:
        return []
    known_rates = rates()
    for plan in hosts:
        plan.rates = (known_rates.get(f"up {plan.host.redacted}"), known_rates.get(f"back {plan.host.redacted}"))
    answers = at_once(lambda plan: _ask_one(plan, uploads, ground), hosts)
    return [problem for answer in answers for problem in answer]


def as_error(error: Exception, place: str) -> DataferryError:
    """An error of dataferry's own, also for what a host of a third party raises by mistake."""
    if isinstance(error, DataferryError):
        return error
    logging.getLogger("dataferry").debug("%s", place, exc_info=error)
    ours = PublishError(place, f"{type(error).__name__}: {error}")
    ours.__cause__ = error
    return ours


def _ask_one(
    plan: HostPlan,
    uploads: Mapping[str, Upload],
    ground: Ground,
) -> list[DataferryError]:
    publisher = plan.publisher
    if publisher is None:
        return []
    place = plan.host.redacted
    problems = _limits(place, publisher, uploads.values())
    problems += _no_room_for_locators(plan, uploads, ground.known)
    try:
        plan.who = publisher.check_rights()
        found = steps_at(plan, list(uploads.values()), ground)
        plan.steps |= {name: step for name, step in found.items() if isinstance(step, Step)}
        todo = [step.upload for step in plan.doing(UPLOAD, NEW_VERSION)]
        if todo:
            plan.remarks = tuple(publisher.remarks(todo))
            counted = publisher.limits.total_bytes is not None or publisher.limits.files is not None
            problems += _room(place, publisher, uploads.values(), publisher.occupied() if counted else {})
    except (AccessDenied, Conflict) as error:
        plan.failure = error
        return [*problems, *_room(place, publisher, uploads.values(), {}), error]
    except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
        plan.failure = as_error(error, place)
        return [*problems, *_room(place, publisher, uploads.values(), {})]
    return [*problems, *(step for step in found.values() if not isinstance(step, Step))]


def _limits(place: str, publisher: Publisher, uploads: Iterable[Upload]) -> list[DataferryError]:
    limits = publisher.limits
    found: list[DataferryError] = []
    for upload in uploads:
        reason = publisher.problem(upload)
        if limits.file_bytes is not None and upload.size > limits.file_bytes:
            reason = f"it has {upload.size} bytes, and the host takes {limits.file_bytes} in one file at the most"
        elif not upload.size and not limits.empty:
            reason = "it is empty, and the host takes no empty files"
        if reason:
            found.append(PublishError(f"{place}: {upload.name}", reason))
    return found


def _room(
    place: str, publisher: Publisher, uploads: Iterable[Upload], there: Mapping[str, int]
) -> list[DataferryError]:
    """Whether the host takes all files together, beside what it has."""
    limits, sizes = publisher.limits, {upload.name: upload.size for upload in uploads}
    every = {**there, **sizes}
    others = there.keys() - sizes.keys()
    more = f", with the {len(others)} that are there" if others else ""
    found: list[DataferryError] = []
    total = sum(every.values())
    if limits.total_bytes is not None and total > limits.total_bytes:
        reason = f"the files have {total} bytes{more}, and {limits.total_bytes} are the most it takes"
        found.append(PublishError(place, reason, "Publish fewer of them there, and the others to a second host"))
    if limits.files is not None and len(every) > limits.files:
        reason = f"these are {len(every)} files{more}, and it takes {limits.files} at the most"
        found.append(PublishError(place, reason, "Pack small files together, or publish some to a second host"))
    return found


def _no_room_for_locators(plan: HostPlan, uploads: Mapping[str, Upload], known: Known | None) -> list[DataferryError]:
    """A text registry holds no locators, so names have to be enough for this host."""
    if known is None or known.list_path is None or not plan.host.locator:
        return []
    listed = [name for name in uploads if not known.holds_locators(name)]
    if all(plan.host.sources(name, Entry(name, uploads[name].sha256, uploads[name].size)) for name in listed):
        return []
    return [
        PublishError(
            plan.host.redacted,
            f"it needs an id for each file ({plan.host.locator}), and the text registry {known.list_path} holds none",
            f"Take the key `registry` out of {known.path} and publish again: the entries go to its [files] then",
        )
    ]
