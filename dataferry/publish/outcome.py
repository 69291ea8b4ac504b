"""What a run did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataferryError
from .plan import NEW_VERSION, UPLOAD, Plan, raise_all

__all__ = ["FileOutcome", "Outcome"]


@dataclass
class FileOutcome:
    """What was done with one file at one host.

    Parameters
    ----------
    name : str
        The file.
    host : str
        The host, as it may be shown.
    size : int
        Its bytes.
    action : str
        What was planned, see `Step`.
    sent : bool
        Whether it was uploaded by this run.
    proven : bool
        Whether a stranger got it, in this run or before.
    error : DataferryError or None
        Why not.
    """

    name: str
    host: str
    size: int
    action: str
    sent: bool = False
    proven: bool = False
    error: DataferryError | None = None


@dataclass
class Outcome:
    """What a run did.

    Parameters
    ----------
    plan : Plan
        What it meant to do.
    files : list of FileOutcome
        What was done with each file at each host; empty after a dry run.
    written : list of Path
        The files of the registry that changed.
    errors : list of DataferryError
        What did not go well.
    """

    plan: Plan
    files: list[FileOutcome] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    errors: list[DataferryError] = field(default_factory=list)

    def check(self) -> None:
        """Raise what did not go well.

        Raises
        ------
        DataferryError
            The one error, or a `PublishErrors` of all.
        """
        proven = sum(1 for file in self.files if file.proven)
        raise_all(self.errors, f"{proven} of {len(self.files)} files are published; the same command goes on from here")

    def as_json(self) -> dict[str, Any]:
        """What was done or would be, as values that fit JSON."""
        done = {(file.host, file.name): file for file in self.files}
        files = []
        for host, step in self.plan:
            result = done.get((host.host.redacted, step.upload.name))
            told: dict[str, Any] = {
                "name": step.upload.name,
                "host": host.host.redacted,
                "size": step.upload.size,
                "sha256": step.upload.sha256,
                "action": step.action,
            }
            if result is not None:
                told |= {"uploaded": result.sent, "published": result.proven}
                told["error"] = str(result.error) if result.error else None
            files.append(told)
        return {
            "registry": str(self.plan.registry),
            "written": [str(path) for path in self.written],
            "hosts": [
                {
                    "host": host.host.redacted,
                    "declared": (host.publisher.declared if host.publisher and self.files else host.declared) or None,
                    "who": host.who,
                    "upload_bytes": host.bytes_to_go,
                    "upload_files": len(host.doing(UPLOAD, NEW_VERSION)),
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
