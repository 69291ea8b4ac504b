"""Compare files with what a host has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Conflict, DataferryError
from ..registry.registry import Entry
from .known import Known
from .notes import LOOK, Notebook
from .plan import HELD, NEW_VERSION, PUBLISHED, UPLOAD, HostPlan, Step
from .stranger import Stranger

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..hosts.base import HostedFile, Publisher, Upload

__all__ = ["Ground", "same_bytes", "steps_at"]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan stands on.

    Parameters
    ----------
    registry : Path
        Where the registry is to be.
    known : Known or None
        What it holds, if it is there.
    settings : Settings
        The user's settings.
    new_version : bool
        Whether names may get other bytes where the host keeps versions.
    show : bool
        Whether to show how far a comparison is.
    """

    registry: Path
    known: Known | None
    settings: Settings
    new_version: bool
    show: bool


def steps_at(plan: HostPlan, uploads: Sequence[Upload], ground: Ground) -> dict[str, Step | DataferryError]:
    """What has to be done with each file at a host, as it is now.

    Parameters
    ----------
    plan : HostPlan
        The host, of which the rights have been checked.
    uploads : sequence of Upload
        The files.
    ground : Ground
        What the plan stands on.

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
    hosted = publisher.hosted(uploads)
    plan.declared = publisher.declared
    there = [upload for upload in uploads if upload.name in hosted]
    # another machine, or another host, may have registered a file of which this host tells nothing but the size
    proven = Notebook(ground.registry, plan.spec).proven
    published = {
        upload.name
        for upload in there
        if _is_published(publisher, upload, hosted[upload.name], ground.known)
        and (same_bytes(upload, hosted[upload.name]) or proven.get(upload.name) == upload.sha256)
    }
    compared = _compared(plan, [u for u in there if u.name not in published], hosted, ground)
    found: dict[str, Step | DataferryError] = {}
    for upload in uploads:
        name = upload.name
        if name not in hosted:
            found[name] = Step(upload, UPLOAD)
            continue
        answer = compared.get(name)
        if isinstance(answer, DataferryError):
            found[name] = _cannot_compare(plan, upload, answer)
        elif name in published:
            found[name] = Step(upload, PUBLISHED, hosted[name])
        elif answer == upload.sha256 if answer else same_bytes(upload, hosted[name]):
            found[name] = Step(upload, HELD, hosted[name], proven=answer is not None)
        elif ground.new_version and publisher.versioned:
            found[name] = Step(upload, NEW_VERSION, hosted[name])
        else:
            found[name] = _conflict(plan, upload, hosted[name])
    return found


def _compared(
    plan: HostPlan, uploads: Sequence[Upload], hosted: Mapping[str, HostedFile], ground: Ground
) -> dict[str, str | DataferryError]:
    """The sha256 of what a host has, fetched where the host tells no digest."""
    unclear = [upload for upload in uploads if same_bytes(upload, hosted[upload.name]) is None]
    if not unclear:
        return {}
    entries = [Entry(u.name, u.sha256, u.size, hosted[u.name].locators) for u in unclear]
    book = Notebook(ground.registry, plan.spec)
    try:
        stranger = Stranger(plan.declared, ground.settings, book.work_folders(u.path for u in unclear), LOOK)
        return stranger.get(entries, ground.show, compare=True)
    finally:
        book.close()


def same_bytes(upload: Upload, hosted: HostedFile) -> bool | None:
    """Whether a host has exactly these bytes; None where what it tells does not say."""
    if hosted.size is not None and hosted.size != upload.size:
        return False
    if hosted.sha256:
        return hosted.sha256.lower() == upload.sha256
    if hosted.md5:
        return hosted.md5.lower() == upload.md5
    return None


def _is_published(publisher: Publisher, upload: Upload, hosted: HostedFile, known: Known | None) -> bool:
    """Whether the registry has just this file at just this host, as far as the host tells."""
    entry = known.find(upload.name) if known is not None else None
    if known is None or entry is None or (entry.sha256, entry.size) != (upload.sha256, upload.size):
        return False
    if publisher.declared not in {known.dataurl, *known.mirrors} or same_bytes(upload, hosted) is False:
        return False
    return hosted.size is not None and all(entry.locators.get(key) == value for key, value in hosted.locators.items())


def _conflict(plan: HostPlan, upload: Upload, hosted: HostedFile) -> Conflict:
    said = f"{hosted.size} bytes" if hosted.size not in {None, upload.size} else "with another digest"
    remedy = "A published name keeps its bytes: give the new ones another name"
    if plan.publisher is not None and plan.publisher.versioned:
        remedy += ", or publish a new version of the data with --new-version"
    return Conflict(
        f"{plan.host.redacted}: {upload.name}", f"the host has another file under this name ({said})", remedy
    )


def _cannot_compare(plan: HostPlan, upload: Upload, error: DataferryError) -> DataferryError:
    return Conflict(
        f"{plan.host.redacted}: {upload.name}",
        f"the host has a file under this name, and it cannot be compared: {error}",
    )
