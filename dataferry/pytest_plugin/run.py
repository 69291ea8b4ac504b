"""One run of pytest: what its tests need, and what happens to those whose files are not here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..errors import BadName, DataferryError, UnknownFile
from ..files import put_atomically
from ..package_data import PackageData
from . import CURRENT, needs_file
from .data_files import HERE, MISSING, DataFiles, Outcome
from .needs import Need, find_package, gather, registered_names, skipped_anyway
from .report import Report

if TYPE_CHECKING:
    from ..lookup.options import FetchOptions
    from ..lookup.resolver import Resolver


_NEEDS = pytest.StashKey[list[Need]]()
#: What is wrong with the markers of a test.
_MISTAKE = pytest.StashKey[str]()


class Run:
    """A plugin that is registered once a test of the session needs a file."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._answers = "" if self._worker is None else os.path.join(self._worker["dataferry"], "answers.json")
        self.files = DataFiles(config, self._announce, self._worker is None and sys.stderr.isatty())
        self.report = Report(config.option.dataferry, self.files.outcomes)
        self.data: PackageData = SuiteData(self)

    def collected(self, items: Iterable[pytest.Item]) -> None:
        """Gather what the selected tests need; fetch it, or leave that to the controller of pytest-xdist."""
        needed: dict[Need, None] = {}
        for item in items:
            if skipped_anyway(item):
                continue
            try:
                needs = dict.fromkeys(gather(item, self.files.data))
            except DataferryError as error:
                item.stash[_MISTAKE] = f"{item.nodeid}: {error}"
            else:
                item.stash[_NEEDS] = list(needs)
                needed.update(needs)
        if self.config.option.dataferry_needs:
            files = [{"package": need.package, "name": need.name} for need in needed]
            path = Path(self.config.option.dataferry_needs)
            path.write_text(json.dumps({"files": files}, indent=2), encoding="utf-8")
        elif self.config.option.collectonly:
            return
        elif self._worker is None:
            self.files.provide(needed)
        elif os.path.isdir(self._worker["dataferry"]):  # not on another machine
            put_atomically(needs_file(self._worker), json.dumps(list(needed)).encode())

    def supply_worker(self, workerinput: dict[str, Any]) -> None:
        """In the controller: fetch what a worker needs, and write down what became of it."""
        from ..cache.layout import cache_folders

        with open(needs_file(workerinput), encoding="utf-8") as file:
            self.files.provide([Need(*need) for need in json.load(file)])
        answer = {"homes": cache_folders(), "outcomes": list(self.files.outcomes.values())}
        put_atomically(os.path.join(workerinput["dataferry"], "answers.json"), json.dumps(answer).encode())

    def before(self, item: pytest.Item) -> None:
        """Skip or fail a test that is about to be set up and whose files are not here."""
        if mistake := item.stash.get(_MISTAKE, ""):
            _fail_instead(item, mistake)
        if _NEEDS not in item.stash:
            return
        bad = [outcome for outcome in self._outcomes(item.stash[_NEEDS], item) if outcome.state != HERE]
        if not bad:
            _lift_remote_data(item)
        elif self.report.must_fail(bad):
            _fail_instead(item, self._failure(bad))
        else:
            item.add_marker(pytest.mark.skip(reason=_summary(bad)))  # pytest's own hook, which follows, names the test

    @property
    def current(self) -> pytest.Item | None:
        """The test that runs now."""
        return self.config.stash.get(CURRENT, None)

    def registered_path(self, name: str, package: str | None = None) -> Path:
        """The path of a registered file; any other name is a mistake of the test."""
        package = package or self.package_of(self.current)
        try:
            registered_names(name, self.files.data(package))
        except (BadName, UnknownFile) as error:
            pytest.fail(str(error), pytrace=False)
        return self.path(name, package)

    def path(self, name: str, package: str) -> Path:
        """The path of a verified file for the test that runs now, which else is skipped or fails."""
        [outcome] = self._outcomes([Need(package, name)], self.current)
        if outcome.state == HERE:
            return Path(outcome.path)
        if not self.report.must_fail([outcome]):
            pytest.skip(_summary([outcome]))
        pytest.fail(self._failure([outcome]), pytrace=False)

    def package_of(self, item: pytest.Item | None) -> str:
        """The package whose data a test means."""
        if item is not None and (package := find_package(item)):
            return package
        pytest.fail(
            "no package is known for this test: give package=, mark the test with package_data(..., package=), or "
            "set dataferry_package in the configuration of pytest",
            pytrace=False,
        )

    def _outcomes(self, needs: list[Need], item: pytest.Item | None) -> list[Outcome]:
        """What became of files, and in the report that a test uses them."""
        if self._answers and os.path.exists(self._answers):
            self._read_answers()
        outcomes = self.files.provide(needs)
        if item is None:
            return outcomes
        for outcome in outcomes:
            use = item.nodeid, outcome.package, outcome.name
            if use not in self.report.uses:
                here = self.report.uses[use] = outcome.state == HERE
                word = outcome.origin if here else outcome.state
                item.user_properties.append((f"dataferry.{word}", f"{outcome.package}:{outcome.name}"))
        return outcomes

    def _read_answers(self) -> None:
        from .isolation import adopt

        with open(self._answers, encoding="utf-8") as file:
            answer = json.load(file)
        self._answers = ""
        outcomes = [Outcome(*outcome) for outcome in answer["outcomes"]]
        self.files.outcomes.update({outcome[:2]: outcome for outcome in outcomes})
        # a conftest may give each process a cache of its own
        adopt([outcome.path for outcome in outcomes if outcome.state == HERE], answer["homes"])

    def _failure(self, bad: list[Outcome]) -> str:
        mode = " (--dataferry=require)" if all(outcome.state == MISSING for outcome in bad) else ""
        texts = (o.detail if o.detail.startswith(o.reason) else f"{o.reason}\n{o.detail}" for o in bad)
        return "\n".join([f"data files are not available{mode}", *texts])

    def _announce(self, line: str) -> None:
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
        if self._worker is not None:
            self.config.workeroutput["dataferry"] = self.report.for_controller()  # type: ignore[attr-defined]
        elif self.config.option.dataferry_report:
            path = Path(self.config.option.dataferry_report)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.report.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say which files were used, from where, and what was skipped."""
        verbosity = self.config.option.verbose
        if (self.files.outcomes or self.report.updated) and verbosity >= -1:
            terminalreporter.section("data files", sep="-")
            for line in self.report.lines(verbose=verbosity > 0):
                terminalreporter.write_line(line)


class SuiteData(PackageData):
    """Data of the package that the running test means; a file that is not available skips the test, or fails it.

    A run asks for each file once and shows its own progress: ``refresh``, ``jobs``, ``deadline`` and ``progress`` have
    no meaning here.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def package(self) -> str:  # type: ignore[override]
        """The package of the test that runs now."""
        return self._run.package_of(self._run.current)

    @property
    def _resolver(self) -> Resolver:  # type: ignore[override]
        """What finds the files, as the whole test run shares it."""
        return self._run.files.data(self.package)._resolver

    def _get(self, name: str, options: FetchOptions, *, refresh: bool) -> str:
        return str(self._run.path(name, self.package))

    def _get_many(self, names: str | Iterable[str], options: FetchOptions) -> list[str]:
        wanted = self._resolver.expand(names)
        self._run.files.provide([Need(self.package, name) for name in wanted])
        return [self.get(name) for name in wanted]


def _summary(bad: list[Outcome]) -> str:
    more = f" (and {len(bad) - 1} more files)" if len(bad) > 1 else ""
    return bad[0].reason + more


def _lift_remote_data(item: pytest.Item) -> None:
    """Let a test run that pytest-remotedata would skip although all its files are here."""
    closest = item.get_closest_marker
    if item.config.getoption("remote_data", None) in {None, "any"} or closest("remote_data") is None:
        return

    def without(name: str, default: Any = None) -> Any:
        return default if name == "remote_data" else closest(name, default)

    item.get_closest_marker = without  # type: ignore[method-assign]


def _fail_instead(item: pytest.Item, text: str) -> None:
    """Let a test fail in its own phase, and without its fixtures: pytest calls a failure of the setup an error."""
    item.setup = item.teardown = lambda: None  # type: ignore[method-assign]
    item.runtest = partial(pytest.fail, text, pytrace=False)  # type: ignore[method-assign]
