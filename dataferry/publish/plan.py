"""What a run would do: a table of files and hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataferryError, PublishErrors

if TYPE_CHECKING:
    from ..files import Digests
    from ..hosts.base import Host, HostedFile, Publisher, Upload

__all__ = ["HELD", "NEW_VERSION", "PUBLISHED", "UPLOAD", "HostPlan", "Plan", "Step", "raise_all"]

#: It has to go there.
UPLOAD = "upload"
#: It has to go there; the host keeps the old bytes under the old locator.
NEW_VERSION = "new version"
#: The host has these bytes; they are fetched back and registered.
HELD = "held"
#: The host has these bytes and the registry knows.
PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Step:
    """What happens with one file at one host.

    Parameters
    ----------
    upload : Upload
        The file.
    action : str
        ``"upload"``, ``"new version"``, ``"held"`` (it is there, and will be proven and registered) or
        ``"published"`` (there is nothing to do).
    held : HostedFile or None
        What the host has under the name.
    proven : bool
        Whether these bytes were fetched from the host, as by a stranger, to compare them.
    """

    upload: Upload
    action: str
    hosted: HostedFile | None = None
    proven: bool = False


@dataclass
class HostPlan:
    """What happens at one host.

    Parameters
    ----------
    spec : str
        The host as it was given.
    host : Host
        The host.
    publisher : Publisher or None
        What takes files there; None if there is none.
    who : str
        Who publishes, as the host says.
    steps : dict of str to Step
        Name -> what happens with the file.
    failure : DataferryError or None
        Why the host cannot be asked now. The other hosts are not concerned.
    declared : str
        The line that the registry would hold for it.
    rates : (float or None, float or None)
        Bytes a second that an earlier run measured: up to the host, and back.
    remarks : sequence of str
        What else the author has to know before anything is sent: parts, releases, what cannot be taken back.
    """

    spec: str
    host: Host
    publisher: Publisher | None = None
    who: str = ""
    steps: dict[str, Step] = field(default_factory=dict)
    failure: DataferryError | None = None
    declared: str = ""
    rates: tuple[float | None, float | None] = (None, None)
    remarks: Sequence[str] = ()

    def doing(self, *actions: str) -> list[Step]:
        """The steps with one of some actions."""
        return [step for step in self.steps.values() if step.action in actions]

    @property
    def bytes_to_go(self) -> int:
        """The bytes that have to be uploaded."""
        return sum(step.upload.size for step in self.doing(UPLOAD, NEW_VERSION))

    @property
    def seconds(self) -> float | None:
        """How long it may take to upload and to fetch back; None where nobody knows."""
        up, back = self.rates
        if not up or not back:
            return None
        return self.bytes_to_go / up + sum(s.upload.size for s in self.doing(UPLOAD, NEW_VERSION, HELD)) / back


@dataclass
class Plan:
    """What a run would do.

    Parameters
    ----------
    registry : Path
        The ``dataferry.toml``.
    uploads : dict of str to Upload
        The files, by name.
    digests : dict of str to Digests
        What each file was when it was read.
    hosts : list of HostPlan
        The hosts, in the order in which they were given.
    problems : list of DataferryError
        What keeps the run from beginning.
    new_version : bool
        Whether names may get other bytes.
    remarks : sequence of str
        What else the author has to know before anything is sent, beside what single hosts remark.
    """

    registry: Path
    uploads: Mapping[str, Upload]
    digests: Mapping[str, Digests]
    hosts: list[HostPlan]
    problems: list[DataferryError]
    new_version: bool = False
    remarks: Sequence[str] = ()

    def check(self, *, every_host: bool = False) -> None:
        """Raise what keeps the run from beginning.

        Parameters
        ----------
        every_host : bool
            Also raise that one host of several cannot be asked, for which the run would not wait but end with an error.

        Raises
        ------
        DataferryError
            The one problem, or a `PublishErrors` of all.
        """
        errors = list(self.problems)
        failures = [host.failure for host in self.hosts if host.failure]
        if every_host or (not errors and len(failures) == len(self.hosts)):
            errors += [error for error in failures if error not in errors]
        raise_all(errors, f"nothing was published: {len(errors)} problems")

    def __iter__(self) -> Iterator[tuple[HostPlan, Step]]:
        for host in self.hosts:
            for step in host.steps.values():
                yield host, step


def raise_all(errors: Sequence[DataferryError], message: str) -> None:
    """Raise the one error, or all of them together.

    Parameters
    ----------
    errors : sequence of DataferryError
        None, one or several.
    message : str
        What they have in common.

    Raises
    ------
    DataferryError
        If there is one; a `PublishErrors` if there are several.
    """
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise PublishErrors(message, errors)
