"""Ask hosts what they would take and what they have."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import AccessDenied, Conflict, DataferryError, PublishError
from ..registry import Entry
from .crew import at_once
from .notes import Notebook, rates
from .plan import HELD, NEW_VERSION, PUBLISHED, UPLOAD, HostPlan, Step
from .stranger import Stranger

if TYPE_CHECKING:
    from pathlib import Path

    from ..hosts.publisher import Held, Publisher, Upload
    from ..settings import Settings
    from .known import Known

__all__ = ["as_error", "ask", "same_bytes", "steps_at"]


def ask(
    hosts: Sequence[HostPlan],
    uploads: Mapping[str, Upload],
    registry: Path,
    known: Known | None,
    settings: Settings,
    new_version: bool,
) -> list[DataferryError]:
    """Ask all hosts at the same time, and note in their plans what has to be done.

    Parameters
    ----------
    hosts : sequence of HostPlan
        The hosts.
    uploads : mapping of str to Upload
        The files.
    registry : Path
        Where the registry is to be.
    known : Known or None
        What it holds, if it is there.
    settings : Settings
        The user's settings.
    new_version : bool
        Whether names may get other bytes where the host keeps versions.

    Returns
    -------
    list of DataferryError
        What keeps the run from beginning.
    """
    if not hosts:
        return []
    known_rates = rates()
    for plan in hosts:
        plan.rates = (known_rates.get(f"up {plan.host.shown}"), known_rates.get(f"back {plan.host.shown}"))
    answers = at_once(lambda plan: _ask_one(plan, uploads, registry, known, settings, new_version), hosts)
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
    registry: Path,
    known: Known | None,
    settings: Settings,
    new_version: bool,
) -> list[DataferryError]:
    publisher = plan.publisher
    if publisher is None:
        return []
    problems = _limits(plan.host.shown, publisher, uploads.values())
    problems += _no_room_for_locators(plan, uploads, known)
    try:
        plan.who = publisher.check_rights()
        found = steps_at(plan, list(uploads.values()), registry, known, settings, new_version)
    except (AccessDenied, Conflict) as error:
        plan.failure = error
        return [*problems, error]
    except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
        plan.failure = as_error(error, plan.host.shown)
        return problems
    for name, step in found.items():
        if isinstance(step, Step):
            plan.steps[name] = step
        else:
            problems.append(step)
    return problems


def steps_at(
    plan: HostPlan,
    uploads: Sequence[Upload],
    registry: Path,
    known: Known | None,
    settings: Settings,
    new_version: bool,
) -> dict[str, Step | DataferryError]:
    """What has to be done with each file at a host, as it is now.

    Parameters
    ----------
    plan : HostPlan
        The host, of which the rights have been checked.
    uploads : sequence of Upload
        The files.
    registry : Path
        Where the registry is to be.
    known : Known or None
        What it holds, if it is there.
    settings : Settings
        The user's settings.
    new_version : bool
        Whether names may get other bytes where the host keeps versions.

    Returns
    -------
    dict of str to (Step or DataferryError)
        Name -> what has to be done, or what is wrong.

    Raises
    ------
    DataferryError
        If the host could not be asked.
    """
    publisher = plan.publisher
    if publisher is None:
        return {}
    held = publisher.held(uploads)
    unclear = [u for u in uploads if u.name in held and same_bytes(u, held[u.name]) is None]
    compared: dict[str, str | DataferryError] = {}
    if unclear:
        entries = [Entry(u.name, u.sha256, u.size, held[u.name].locators) for u in unclear]
        book = Notebook(registry, plan.spec)
        stranger = Stranger(publisher.declared, settings, book.work_folders(u.path for u in unclear), "look-")
        compared = stranger.get(entries, compare=True)
        book.close()
    found: dict[str, Step | DataferryError] = {}
    for upload in uploads:
        there = held.get(upload.name)
        if there is None:
            found[upload.name] = Step(upload, UPLOAD)
            continue
        same = same_bytes(upload, there)
        if same is None:
            answer = compared[upload.name]
            if isinstance(answer, DataferryError):
                found[upload.name] = _cannot_compare(plan, upload, answer)
                continue
            same = answer == upload.sha256
        if same:
            done = known is not None and _registered(publisher, upload, there, known)
            found[upload.name] = Step(upload, PUBLISHED if done else HELD, there)
        elif new_version and publisher.versioned:
            found[upload.name] = Step(upload, NEW_VERSION, there)
        else:
            found[upload.name] = _conflict(plan, upload, there)
    return found


def same_bytes(upload: Upload, held: Held) -> bool | None:
    """Whether a host has exactly these bytes; None where what it tells does not say."""
    if held.size is not None and held.size != upload.size:
        return False
    if held.sha256:
        return held.sha256.lower() == upload.sha256
    if held.md5:
        return held.md5.lower() == upload.md5
    return None


def _registered(publisher: Publisher, upload: Upload, held: Held, known: Known) -> bool:
    entry = known.find(upload.name)
    if entry is None or entry.sha256 != upload.sha256 or entry.size != upload.size:
        return False
    if publisher.declared not in {known.dataurl, *known.mirrors}:
        return False
    return all(entry.locators.get(key) == value for key, value in held.locators.items())


def _limits(place: str, publisher: Publisher, uploads: Iterable[Upload]) -> list[DataferryError]:
    limits, every = publisher.limits, list(uploads)
    found: list[DataferryError] = []
    for upload in every:
        reason = publisher.problem(upload)
        if limits.file_bytes is not None and upload.size > limits.file_bytes:
            reason = f"it has {upload.size} bytes, and the host takes {limits.file_bytes} in one file at the most"
        elif not upload.size and not limits.empty:
            reason = "it is empty, and the host takes no empty files"
        if reason:
            found.append(PublishError(f"{place}: {upload.name}", reason))
    total = sum(upload.size for upload in every)
    if limits.total_bytes is not None and total > limits.total_bytes:
        found.append(
            PublishError(place, f"the files have {total} bytes, and {limits.total_bytes} are the most it takes")
        )
    if limits.files is not None and len(every) > limits.files:
        found.append(PublishError(place, f"these are {len(every)} files, and it takes {limits.files} at the most"))
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
            plan.host.shown,
            f"it needs an id for each file ({plan.host.locator}), and the text registry {known.list_path} holds none",
            f"Take the key `registry` out of {known.path} and publish again: the entries go to its [files] then",
        )
    ]


def _conflict(plan: HostPlan, upload: Upload, held: Held) -> Conflict:
    said = f"{held.size} bytes" if held.size not in {None, upload.size} else "with another digest"
    remedy = "A published name keeps its bytes: give the new ones another name"
    if plan.publisher is not None and plan.publisher.versioned:
        remedy += ", or publish a new version of the data with --new-version"
    return Conflict(f"{plan.host.shown}: {upload.name}", f"the host has another file under this name ({said})", remedy)


def _cannot_compare(plan: HostPlan, upload: Upload, error: DataferryError) -> DataferryError:
    return Conflict(
        f"{plan.host.shown}: {upload.name}",
        f"the host has a file under this name, and it cannot be compared: {error}",
    )
