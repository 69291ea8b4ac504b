"""What a run would do, and what it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataferryError, PublishErrors

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..files import Stamp
    from ..hosts.base import Host, HostedFile, Publisher, Upload
    from ..registry.registry import Registry


class Action(StrEnum):
    """What happens with a file at a host."""

    #: It is uploaded.
    UPLOAD = "upload"
    #: It is uploaded; the host keeps the old bytes under the old locator.
    NEW_VERSION = "new version"
    #: It is uploaded in place of a damaged copy: the registry has its sha256, the host has other bytes.
    REPAIR = "repair"
    #: The host has these bytes; they are fetched back and registered.
    HOSTED = "hosted"
    #: The host has these bytes, and the registry knows: there is nothing to do.
    PUBLISHED = "published"
    #: The host has other bytes, or none that could be compared.
    CONFLICT = "conflict"


_SENT = (Action.UPLOAD, Action.NEW_VERSION, Action.REPAIR)


@dataclass
class FilePlan:
    """One file at one host: what happens with it, and after the run what was done.

    Parameters
    ----------
    upload : Upload
        The file.
    host : str
        The host, without credentials.
    action : Action
        What happens with it.
    hosted : HostedFile or None
        What the host has under the name.
    compared : bool
        Whether the plan has already downloaded and compared the host's file.
    sent : bool
        Whether this run uploaded it.
    proven : bool
        Whether it was downloaded again without credentials, in this run or before.
    locators : dict of str to (str or int)
        What the registry stores for it.
    error : DataferryError or None
        What prevents it, or went wrong.
    """

    upload: Upload
    host: str
    action: Action
    hosted: HostedFile | None = None
    compared: bool = False
    sent: bool = False
    proven: bool = False
    locators: dict[str, str | int] = field(default_factory=dict)
    error: DataferryError | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.upload.name

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.upload.size

    @property
    def label(self) -> str:
        """Host and file, for messages."""
        return f"{self.host}: {self.name}"


@dataclass
class HostPlan:
    """What happens at one host.

    Parameters
    ----------
    spec : str
        The host as you gave it.
    host : Host
        The host.
    publisher : Publisher
        Its publisher.
    who : str
        Who publishes, as reported by the host.
    files : dict of str to FilePlan
        Name -> what happens with the file.
    failure : DataferryError or None
        Why the host cannot be used now. The run continues with the other hosts.
    declared : str
        The line that the registry would have for it.
    rates : (float or None, float or None)
        Bytes a second that an earlier run measured, for uploads and downloads.
    remarks : sequence of str
        What else the author should know before the upload: parts, releases, what cannot be undone.
    """

    spec: str
    host: Host
    publisher: Publisher
    who: str = ""
    files: dict[str, FilePlan] = field(default_factory=dict)
    failure: DataferryError | None = None
    declared: str = ""
    rates: tuple[float | None, float | None] = (None, None)
    remarks: Sequence[str] = ()

    @property
    def redacted(self) -> str:
        """The host, without credentials."""
        return self.host.redacted

    def doing(self, *actions: Action) -> list[FilePlan]:
        """The files with one of some actions."""
        return [file for file in self.files.values() if file.action in actions]

    @property
    def to_send(self) -> list[FilePlan]:
        """The files that are uploaded."""
        return self.doing(*_SENT)

    @property
    def bytes_to_go(self) -> int:
        """The bytes that are uploaded."""
        return sum(file.size for file in self.to_send)

    @property
    def seconds(self) -> float | None:
        """An estimate of the seconds for upload and proof; None if there is none."""
        up, back = self.rates
        if not up or not back:
            return None
        return self.bytes_to_go / up + sum(file.size for file in self.doing(*_SENT, Action.HOSTED)) / back


@dataclass
class Plan:
    """What a run would do.

    Parameters
    ----------
    registry : Path
        The ``dataferry.toml``.
    uploads : dict of str to Upload
        The files, by name.
    digests : dict of str to Stamp
        The stamp of each file when it was read.
    hosts : list of HostPlan
        The hosts, in the order in which they were given.
    problems : list of DataferryError
        What prevents the run.
    new_version : bool
        Whether names may get other bytes.
    repair : bool
        Whether to replace damaged copies of registered files.
    remarks : sequence of str
        What else the author should know before the upload, apart from remarks on single hosts.
    known : Registry
        The registry as it was read; empty if there is none.
    settings : Settings
        The user's configuration.
    """

    registry: Path
    uploads: Mapping[str, Upload]
    digests: Mapping[str, Stamp]
    hosts: list[HostPlan]
    problems: list[DataferryError]
    new_version: bool
    repair: bool
    known: Registry
    settings: Settings
    remarks: Sequence[str] = ()

    def registered_hosts(self) -> list[str]:
        """The lines of the registry that declare hosts."""
        return [line for line in (self.known.dataurl, *self.known.mirrors) if line]

    def check(self, *, every_host: bool = False) -> None:
        """Raise what prevents the run.

        Parameters
        ----------
        every_host : bool
            Also raise the error of a single host that does not answer, with which the run would end.

        Raises
        ------
        DataferryError
            The one problem, or a `PublishErrors` of all.
        """
        errors = list(self.problems)
        failures = [host.failure for host in self.hosts if host.failure]
        if every_host or len(failures) == len(self.hosts):
            errors += [error for error in failures if error not in errors]
        raise_all(errors, f"nothing was published: {len(errors)} problems")

    def __iter__(self) -> Iterator[tuple[HostPlan, FilePlan]]:
        for host in self.hosts:
            for file in host.files.values():
                yield host, file


@dataclass
class Outcome:
    """What a run did.

    Parameters
    ----------
    plan : Plan
        What was planned.
    files : list of FilePlan
        What was done with each file at each host; empty after a dry run.
    written : list of Path
        The files of the registry that changed.
    errors : list of DataferryError
        What failed.
    """

    plan: Plan
    files: list[FilePlan] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    errors: list[DataferryError] = field(default_factory=list)

    def check(self) -> None:
        """Raise what failed.

        Raises
        ------
        DataferryError
            The one error, or a `PublishErrors` of all.
        """
        proven = sum(1 for file in self.files if file.proven)
        raise_all(self.errors, f"{proven} of {len(self.files)} files are published; the same command goes on from here")

    def as_json(self) -> dict[str, Any]:
        """What was done or would be, as values that fit JSON."""
        files = []
        for _, file in self.plan:
            row: dict[str, Any] = {key: getattr(file, key) for key in ("name", "host", "size", "action")}
            row["sha256"] = file.upload.sha256
            if self.files:
                error = None if file.error is None else str(file.error)
                row |= {"uploaded": file.sent, "published": file.proven, "error": error}
            files.append(row)
        return {
            "registry": str(self.plan.registry),
            "written": [str(path) for path in self.written],
            "hosts": [
                {
                    "host": host.redacted,
                    "declared": (host.publisher.declared if self.files else host.declared) or None,
                    "who": host.who,
                    "upload_bytes": host.bytes_to_go,
                    "upload_files": len(host.to_send),
                    "seconds": host.seconds,
                    "remarks": list(host.remarks),
                    "error": str(host.failure) if host.failure else None,
                }
                for host in self.plan.hosts
            ],
            "files": files,
            "remarks": list(self.plan.remarks),
            "problems": [str(error) for error in self.plan.problems],
        }


def raise_all(errors: Sequence[DataferryError], message: str) -> None:
    """Raise the one error, or a `PublishErrors` of several."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise PublishErrors(message, errors)
