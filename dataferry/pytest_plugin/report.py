"""What a run used and could not use: the summary and the JSON report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataferryError
from ..files import hash_file
from ..package_data import PackageData
from .data_files import HERE, MISSING, Outcome

_LISTED = 10
_ORIGINS = {
    "override": "given by path",
    "folder": "from folders",
    "package": "bundled",
    "cache": "from the cache",
    "host": "fetched",
}


@dataclass
class Report:
    """Counts the tests of each file; that of a worker is merged into that of the controller."""

    mode: str
    outcomes: dict[tuple[str, str], Outcome]
    #: (test, package, name) -> whether the file was here.
    uses: dict[tuple[str, str, str], bool] = field(default_factory=dict)
    #: (package, name, path) of the files that ``--dataferry-update`` wrote.
    updated: set[tuple[str, str, str]] = field(default_factory=set)

    def for_controller(self) -> dict[str, Any]:
        """What a worker hands to the controller, in types that execnet sends."""
        return {"files": list(map(tuple, self.outcomes.values())), "uses": self.uses, "updated": self.updated}

    def merge(self, output: Mapping[str, Any]) -> None:
        """Add what `for_controller` returned in a worker."""
        self.uses.update(output["uses"])
        self.updated.update(output["updated"])
        for outcome in (Outcome(*file) for file in output["files"]):
            known = self.outcomes.get(outcome[:2])
            if known is None or known.origin != "host":  # what was fetched is in the cache for others
                self.outcomes[outcome[:2]] = outcome

    def as_dict(self) -> dict[str, Any]:
        """The report in plain types."""
        tests = self._tests()
        stopped: dict[str, list[tuple[str, str]]] = {}
        for test, package, name in (use for use, here in self.uses.items() if not here):
            stopped.setdefault(test, []).append((package, name))
        return {
            "mode": self.mode,
            "fetched_files": sum(o.origin == "host" for o in self.outcomes.values()),
            "fetched_bytes": sum(o.moved for o in self.outcomes.values()),
            "files": [
                {
                    "package": o.package,
                    "name": o.name,
                    "state": o.state,
                    "from": o.origin or None,
                    "path": o.path or None,
                    "size": o.size if o.state == HERE else None,
                    "reason": None if o.state == HERE else o.reason,
                    "tests": tests[o[:2]],
                }
                for o in sorted(self.outcomes.values())
            ],
            "not_run": [
                {"test": test, "outcome": self._end(*files), "files": [":".join(file) for file in files]}
                for test, files in sorted(stopped.items())
            ],
            "updated": [
                {"package": package, "name": name, "path": path} for package, name, path in sorted(self.updated)
            ],
        }

    def lines(self, *, verbose: bool) -> Iterator[str]:
        """The summary for the terminal."""
        tests = self._tests()
        here = [outcome for outcome in self.outcomes.values() if outcome.state == HERE]
        if here:
            origins = Counter(outcome.origin for outcome in here)
            parts = ", ".join(f"{origins[origin]} {words}" for origin, words in _ORIGINS.items() if origins[origin])
            fetched = sum(outcome.moved for outcome in here)
            yield f"{_count(len(here), 'file')}: {parts}" + (f" ({fetched / 1e6:.1f} MB)" if fetched else "")
        if verbose:
            for o in sorted(here):
                yield f"{o.package}: {o.name} <- {o.path} ({_count(tests[o[:2]], 'test')})"
        bad = [outcome for outcome in sorted(self.outcomes.values()) if outcome.state != HERE and tests[outcome[:2]]]
        for outcome in bad if verbose else bad[:_LISTED]:
            yield f"{self._end(outcome[:2])} {_count(tests[outcome[:2]], 'test')}: {outcome.reason}"
        if len(bad) > _LISTED and not verbose:
            yield f"and {len(bad) - _LISTED} more files that are not available (-v lists them)"
        yield from _explain_updates(sorted(self.updated))

    def _tests(self) -> Counter[tuple[str, str]]:
        return Counter((package, name) for _, package, name in self.uses)

    def must_fail(self, bad: Iterable[Outcome]) -> bool:
        """Whether a test fails because of these files, or is skipped."""
        return self.mode == "require" or any(outcome.state != MISSING for outcome in bad)

    def _end(self, *files: tuple[str, str]) -> str:
        return "failed" if self.must_fail(self.outcomes[file] for file in files) else "skipped"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _explain_updates(updated: list[tuple[str, str, str]]) -> Iterator[str]:
    """What the new files mean for the registry."""
    for package in dict.fromkeys(item[0] for item in updated):
        files = {name: Path(path) for p, name, path in updated if p == package}
        folder = next(iter(files.values())).parents[next(iter(files)).count("/")]
        yield f"{_count(len(files), 'new file')} of {package} in {folder}; the registry would change like this:"
        try:
            registry = PackageData(package).registry
            for name, path in files.items():
                old, new = registry.find(name), hash_file(path)
                yield f'{"+" if old is None else " "}[files."{name}"]'
                if old is not None:
                    yield f'-size = {old.size}\n-sha256 = "{old.sha256}"'
                yield f'+size = {new.size}\n+sha256 = "{new.sha256}"'
        except (DataferryError, OSError) as error:
            yield f"  {error}"
        yield f"nothing was uploaded. To register them: dataferry add --replace {package} {folder}"
        yield "a published name keeps its bytes: give files that are already published a new name"
