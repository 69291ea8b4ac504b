"""What a run used and could not use: the summary, the JSON report, the properties of junit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..errors import DataferryError
from ..files import hash_file
from ..package_data import PackageData
from .data_files import HERE, MISSING, Outcome

__all__ = ["Report"]

_LISTED = 10
_ORIGINS = {
    "override": "given by path",
    "folder": "from folders",
    "package": "bundled",
    "cache": "from the cache",
    "host": "fetched",
}


class Report:
    """Counts files and tests; that of a worker is merged into that of the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._files: dict[tuple[str, str], Outcome] = {}
        self._tests: dict[tuple[str, str], set[str]] = {}
        self._stopped: dict[str, list[tuple[str, str]]] = {}
        self.updated: list[tuple[str, str, str]] = []

    def note(self, item: pytest.Item, outcome: Outcome) -> None:
        """Note that a test uses a file, or wants one that is not here; the test gets a property for junit."""
        key = outcome.package, outcome.name
        tests = self._tests.setdefault(key, set())
        if item.nodeid in tests:
            return
        tests.add(item.nodeid)
        word = outcome.origin if outcome.state == HERE else outcome.state
        item.user_properties.append((f"dataferry.{word}", f"{outcome.package}:{outcome.name}"))
        if outcome.state != HERE:
            self._stopped.setdefault(item.nodeid, []).append(key)

    def add_files(self, outcomes: Iterable[Outcome]) -> None:
        """Add what this process knows of files."""
        for outcome in outcomes:
            key = outcome.package, outcome.name
            before = self._files.get(key)
            if before is None or before.origin != "host":  # what was fetched is in the cache for others
                self._files[key] = outcome

    def for_controller(self) -> dict[str, Any]:
        """What a worker hands to the controller, in plain types."""
        return {
            "files": [list(outcome) for outcome in self._files.values()],
            "tests": [[*key, sorted(tests)] for key, tests in self._tests.items()],
            "stopped": {test: [list(key) for key in keys] for test, keys in self._stopped.items()},
            "updated": [list(item) for item in self.updated],
        }

    def merge(self, output: dict[str, Any]) -> None:
        """Add what `for_controller` returned in a worker."""
        self.add_files(Outcome(*outcome) for outcome in output["files"])
        for package, name, tests in output["tests"]:
            self._tests.setdefault((package, name), set()).update(tests)
        for test, keys in output["stopped"].items():
            self._stopped[test] = [(package, name) for package, name in keys]
        self.updated += [(package, name, path) for package, name, path in output["updated"]]

    def as_dict(self) -> dict[str, Any]:
        """The report in plain types."""
        outcomes = sorted(self._files.values())
        return {
            "mode": self._config.option.dataferry,
            "fetched_files": sum(o.origin == "host" for o in outcomes),
            "fetched_bytes": sum(o.moved for o in outcomes),
            "files": [
                {
                    "package": o.package,
                    "name": o.name,
                    "state": o.state,
                    "from": o.origin or None,
                    "path": o.path or None,
                    "size": o.size if o.state == HERE else None,
                    "reason": None if o.state == HERE else o.reason,
                    "tests": len(self._tests.get((o.package, o.name), ())),
                }
                for o in outcomes
            ],
            "not_run": [
                {"test": test, "outcome": self._end(keys), "files": [":".join(key) for key in keys]}
                for test, keys in sorted(self._stopped.items())
            ],
            "updated": [
                {"package": package, "name": name, "path": path} for package, name, path in sorted(set(self.updated))
            ],
        }

    def _end(self, keys: Iterable[tuple[str, str]]) -> str:
        missing = all(self._files[key].state == MISSING for key in keys if key in self._files)
        return "skipped" if missing and self._config.option.dataferry != "require" else "failed"

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def print(self, terminal: Any) -> None:
        """Print the summary to pytest's TerminalReporter."""
        if (not self._files and not self.updated) or self._config.option.verbose < -1:
            return
        here = [outcome for outcome in self._files.values() if outcome.state == HERE]
        counts = Counter(outcome.origin for outcome in here)
        fetched = sum(outcome.moved for outcome in here)
        parts = [f"{counts[origin]} {words}" for origin, words in _ORIGINS.items() if counts[origin]]
        terminal.section("data files", sep="-")
        if here:
            size = f" ({fetched / 1e6:.1f} MB)" if fetched else ""
            terminal.write_line(f"{_count(len(here), 'file')}: {', '.join(parts)}{size}")
        for line in self._lines():
            terminal.write_line(line)
        if self.updated:
            for line in _explain_updates(sorted(set(self.updated))):
                terminal.write_line(line)

    def _lines(self) -> Iterator[str]:
        verbose = self._config.option.verbose > 0
        missing = 0
        for outcome in sorted(self._files.values()):
            tests = self._tests.get((outcome.package, outcome.name), set())
            if outcome.state == HERE:
                if verbose:
                    yield f"{outcome.package}: {outcome.name} <- {outcome.path} ({_count(len(tests), 'test')})"
            elif tests:
                missing += 1
                if verbose or missing <= _LISTED:
                    yield f"{self._end([outcome[:2]])} {_count(len(tests), 'test')}: {outcome.reason}"
        if missing > _LISTED and not verbose:
            yield f"and {missing - _LISTED} more files that are not available (-v lists them)"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _explain_updates(updated: list[tuple[str, str, str]]) -> Iterator[str]:
    """Lines for the terminal: what the new files, (package, name, path), mean for the registry."""
    for package in dict.fromkeys(item[0] for item in updated):
        files = {name: Path(path) for p, name, path in updated if p == package}
        folder = next(iter(files.values())).parents[next(iter(files)).count("/")]
        count = f"{len(files)} new file{'s' * (len(files) != 1)}"
        yield f"{count} of {package} in {folder}; the registry would change like this:"
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
