"""One run of pytest: what its tests need, and what happens to those whose files are not here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ..package_data import PackageData
from .fixtures import CURRENT, needs_file
from .needs import Need, Needs, find_package, gather, skipped_anyway
from .network import closed, lift_remote_data
from .suite_data import SuiteData
from .supply import HERE, MISSING, Outcome, Supply
from .tally import Tally

__all__ = ["Run"]

_NEEDS = pytest.StashKey[Needs]()


class Run:
    """A plugin that is registered once a test of the session needs a file.

    Parameters
    ----------
    config : pytest.Config
        The session's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.mode: str = config.option.dataferry
        self.tally = Tally(config)
        self._worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._answers = "" if self._worker is None else os.path.join(self._worker["dataferry"], "answers.json")
        show = self._worker is None and sys.stderr.isatty()
        self.supply = Supply(lambda dataurl: closed(config, dataurl), self._say, show)
        self.data: PackageData = SuiteData(self)

    def collected(self, items: Iterable[pytest.Item]) -> None:
        """Gather what the selected tests need; fetch it, or leave that to the controller of pytest-xdist.

        Parameters
        ----------
        items : iterable of pytest.Item
            The selected tests with the marker.
        """
        needed: dict[Need, None] = {}
        for item in items:
            if not skipped_anyway(item):
                needs = item.stash[_NEEDS] = gather(item, self.supply.packages)
                needed.update(dict.fromkeys(needs.files))
        if self.config.option.dataferry_needs:
            files = [{"package": need.package, "name": need.name} for need in needed]
            Path(self.config.option.dataferry_needs).write_text(
                json.dumps({"files": files}, indent=2), encoding="utf-8"
            )
        elif self.config.option.collectonly:
            return
        elif self._worker is None:
            self.supply.provide(needed)
        elif os.path.isdir(self._worker["dataferry"]):  # not on another machine
            _write(needs_file(self._worker), list(needed))

    def supply_worker(self, workerinput: dict[str, Any]) -> None:
        """In the controller: bring what a worker needs, and say what came of it.

        Parameters
        ----------
        workerinput : dict
            The worker's input.
        """
        with open(needs_file(workerinput), encoding="utf-8") as file:
            self.supply.provide([Need(*need) for need in json.load(file)])
        _write(os.path.join(workerinput["dataferry"], "answers.json"), self._answer())

    def _answer(self) -> dict[str, Any]:
        from ..cache.layout import cache_folders

        return {"homes": cache_folders(), "outcomes": list(self.supply.outcomes.values())}

    def before(self, item: pytest.Item) -> None:
        """Skip or fail a test whose files are not here.

        Parameters
        ----------
        item : pytest.Item
            The test that is about to be set up.
        """
        needs = item.stash.get(_NEEDS, None)
        if needs is None:
            return
        if needs.problem:
            _fail_instead(item, needs.problem)
            return
        outcomes = self._outcomes(needs.files)
        bad = [outcome for outcome in outcomes if outcome.state != HERE]
        for outcome in outcomes:
            self.tally.note(item, outcome)
        if not bad:
            lift_remote_data(item)
        elif self.mode == "require" or any(outcome.state != MISSING for outcome in bad):
            _fail_instead(item, self._failure(bad))
        else:
            raise pytest.skip.Exception(_summary(bad), _use_item_location=True)

    def path(self, name: str, package: str | None = None) -> Path:
        """The path of a file for the test that runs now.

        Parameters
        ----------
        name : str
            The file's name.
        package : str, optional
            Its package, if it is not that of the test.

        Returns
        -------
        Path
            The verified file.
        """
        outcome = self.outcome(name, package)
        if outcome.state == HERE:
            return Path(outcome.place)
        if self.mode != "require" and outcome.state == MISSING:
            pytest.skip(_summary([outcome]))
        pytest.fail(self._failure([outcome]), pytrace=False)

    def outcome(self, name: str, package: str | None = None) -> Outcome:
        """What came of a file that the test that runs now asks for, noted for the summary."""
        item = self.config.stash.get(CURRENT, None)
        outcome = self._outcomes([Need(package or self.package_of(item), name)])[0]
        if item is not None:
            self.tally.note(item, outcome)
        return outcome

    def package_of(self, item: pytest.Item | None) -> str:
        """The package whose data a test means."""
        package = "" if item is None else find_package(item)
        if not package:
            pytest.fail(
                "no package is known for this test: give package=, mark the test with package_data(..., package=), or "
                "set dataferry_package in the configuration of pytest",
                pytrace=False,
            )
        return package

    def _outcomes(self, needs: list[Need]) -> list[Outcome]:
        if self._answers and os.path.exists(self._answers):
            self._take_answer()
        for need in needs:
            known = self.supply.outcomes.get(need[:2])
            if known is not None and known.place and not os.path.exists(known.place):  # a test has cleared the cache
                del self.supply.outcomes[need[:2]]
        self.supply.provide(needs)
        return [self.supply.outcomes[need[:2]] for need in needs]

    def _take_answer(self) -> None:
        from .isolation import adopt

        with open(self._answers, encoding="utf-8") as file:
            answer = json.load(file)
        self._answers = ""
        outcomes = [Outcome(*outcome) for outcome in answer["outcomes"]]
        self.supply.outcomes.update({(outcome.package, outcome.name): outcome for outcome in outcomes})
        # a conftest may give each process a cache of its own
        adopt([outcome.place for outcome in outcomes if outcome.state == HERE], answer["homes"])

    def _failure(self, bad: list[Outcome]) -> str:
        mode = " (--dataferry=require)" if all(outcome.state == MISSING for outcome in bad) else ""
        return f"data files cannot be had{mode}\n" + "\n".join(f"{outcome.reason}\n{outcome.detail}" for outcome in bad)

    def _say(self, line: str) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        between = CURRENT not in self.config.stash  # what is written while a test runs belongs to that test
        if reporter is not None and between and self._worker is None and self.config.option.verbose >= 0:
            if reporter.isatty and self.config.pluginmanager.has_plugin("dsession"):
                reporter.write("\n")  # pytest-xdist draws its status over one line
            reporter.ensure_newline()
            reporter.write_line(line)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Hand what this process knows to the controller, or write the report."""
        self.tally.add_files(self.supply.outcomes.values())
        if self._worker is not None:
            self.config.workeroutput["dataferry"] = self.tally.as_told()  # type: ignore[attr-defined]
        elif self.config.option.dataferry_report:
            self.tally.write(Path(self.config.option.dataferry_report))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say which files were used, from where, and what was skipped."""
        self.tally.print(terminalreporter)


def _summary(bad: list[Outcome]) -> str:
    more = f" (and {len(bad) - 1} more files)" if len(bad) > 1 else ""
    return bad[0].reason + more


def _fail_instead(item: pytest.Item, text: str) -> None:
    """Let a test fail in its own phase, and without its fixtures: pytest calls a failure of the setup an error."""

    def nothing() -> None:
        return

    def fail() -> None:
        pytest.fail(text, pytrace=False)

    item.setup = nothing  # type: ignore[method-assign]
    item.runtest = fail  # type: ignore[method-assign]
    item.teardown = nothing  # type: ignore[method-assign]


def _write(path: str, value: object) -> None:
    private = f"{path}.{os.getpid()}"
    with open(private, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(private, path)
