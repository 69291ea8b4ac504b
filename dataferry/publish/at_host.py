"""One host's part of a run, in a thread of its own: upload, make public, fetch back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import DataferryError
from ..registry.registry import Entry
from .ask import as_error
from .compare import Ground, same_bytes, steps_at
from .known import read_known
from .notes import Notebook, rates
from .outcome import FileOutcome
from .plan import HELD, NEW_VERSION, PUBLISHED, UPLOAD, HostPlan, Plan, Step
from .stranger import Stranger, check_declared, not_served
from .tally import Lane, Stopped
from .uploads import Uploads

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..hosts.base import Publisher

__all__ = ["HostRun"]

#: Seconds for which another run of this author to the same host is waited for, without a sign of it.
_PATIENCE = 600.0
#: A rate is kept only if it was measured on so many bytes.
_MEASURED = 1 << 20


class HostRun(threading.Thread):
    """What happens at one host.

    Parameters
    ----------
    whole : Plan
        The plan of the run.
    plan : HostPlan
        The part of it that is this host's.
    settings : Settings
        The user's settings.
    stop : threading.Event
        Set when the run ends.
    jobs : int or None
        Uploads at the same time.
    wait : float or None
        Seconds to wait until strangers get the files.
    label : str
        What names the host beside its files; empty with one host only.

    Attributes
    ----------
    files : dict of str to FileOutcome
        What became of each file.
    locators : dict of str to dict
        Of each file that is to be registered, what the registry has to keep for this host.
    declared : str
        The line for the registry.
    """

    def __init__(
        self,
        whole: Plan,
        plan: HostPlan,
        settings: Settings,
        stop: threading.Event,
        jobs: int | None,
        wait: float | None,
        label: str,
    ) -> None:
        super().__init__(name=f"dataferry-publish-{plan.host.redacted}", daemon=True)
        self.whole, self.plan, self.settings = whole, plan, settings
        self._stop_event, self._jobs, self._wait = stop, jobs, wait
        redacted = plan.host.redacted
        self.files = {
            name: FileOutcome(name, redacted, step.upload.size, step.action, proven=step.action == PUBLISHED)
            for name, step in plan.steps.items()
        }
        self.locators: dict[str, dict[str, str | int]] = {}
        self.declared = plan.spec
        self.up = Lane((s.upload.size for s in plan.doing(UPLOAD, NEW_VERSION)), label, stop)
        self.back = Lane((s.upload.size for s in plan.doing(UPLOAD, NEW_VERSION, HELD) if not s.proven), label, stop)
        self._book: Notebook | None = None

    def run(self) -> None:
        """All of it; what goes wrong is noted in `files` and in the plan's ``failure``."""
        publisher = self.plan.publisher
        if publisher is None or self.plan.failure is not None:
            return
        book = Notebook(self.whole.registry, self.plan.spec)
        if not self.plan.doing(UPLOAD, NEW_VERSION, HELD):
            # a run that was killed after its last step may have left notes
            self._book = book if book.folder.exists() and book.take() else None
            book.give_back()
            return
        self._book = book
        try:
            self._alone(book)
            self._upload(book, publisher)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
            self.plan.failure = as_error(error, self.plan.host.redacted)
        finally:
            book.give_back()

    def known_locators(self, name: str) -> Mapping[str, str | int]:
        """The locators of a file that the registry can hold."""
        return self.locators[name] if self._holds_locators(name) else {}

    def tidy(self) -> None:
        """Drop the notes of what is proven and registered."""
        if self._book is None:
            return
        proven = {name: self.whole.uploads[name].sha256 for name, file in self.files.items() if file.proven}
        for name, sha256 in proven.items():
            self._book.forget(name, sha256)
        if untold := {name: sha256 for name, sha256 in proven.items() if not self._tells_digest(name)}:
            self._book.proven |= untold
        if self.plan.failure is None and len(proven) == len(self.files):
            self._book.forget_host()

    def _tells_digest(self, name: str) -> bool:
        """Whether the host itself will say that it has these bytes, when the next run asks."""
        step, publisher = self.plan.steps[name], self.plan.publisher
        told = step.hosted is None or same_bytes(step.upload, step.hosted) is not None
        return told and publisher is not None and publisher.tells_digests

    # -- the steps -----------------------------------------------------------------------------------------------------

    def _alone(self, book: Notebook) -> None:
        """Wait for another run of this author; afterwards the host may have more than the plan says."""
        began = time.monotonic()
        waited = False
        while not book.take(force=time.monotonic() - began > _PATIENCE):
            if not waited:
                logging.getLogger("dataferry").warning(
                    "another run publishes to %s; waiting for it", self.plan.host.redacted
                )
            waited = True
            if self._stop_event.wait(0.2):
                raise Stopped
        if not waited:
            return
        whole, uploads = self.whole, [step.upload for step in self.plan.doing(UPLOAD, NEW_VERSION)]
        ground = Ground(whole.registry, read_known(whole.registry), self.settings, whole.new_version, False)
        found = steps_at(self.plan, uploads, ground)
        for name, step in found.items():
            if isinstance(step, Step):
                self.plan.steps[name] = step
                self.files[name].proven = step.action == PUBLISHED
            else:
                self.files[name].error = step
                del self.plan.steps[name]

    def _upload(self, book: Notebook, publisher: Publisher) -> None:
        todo = [step.upload for step in self.plan.doing(UPLOAD, NEW_VERSION)]
        hosted = self.plan.doing(HELD)
        locators = {step.upload.name: dict(step.hosted.locators) for step in hosted if step.hosted is not None}
        publisher.superseded = {
            step.upload.name: step.hosted for step in self.plan.doing(NEW_VERSION) if step.hosted is not None
        }
        went: list[str] = []
        going = {*(upload.name for upload in todo), *(step.upload.name for step in hosted)}
        if going & (proven := book.proven).keys():  # what was proven once is no proof of what goes now
            book.proven = {name: sha256 for name, sha256 in proven.items() if name not in going}
        if todo:
            publisher.begin(todo, book.host)
            uploads = Uploads(publisher, book, self.whole.digests, self.up)
            began = time.monotonic()
            done = uploads.run(todo, min(len(todo), self._jobs or publisher.parallel))
            self._measure("up", sum(u.size for u in todo if not isinstance(done[u.name], DataferryError)), began)
            for name, result in done.items():
                if isinstance(result, DataferryError):
                    self.files[name].error = result
                else:
                    self.files[name].sent = True
                    locators[name] = dict(result)
                    went.append(name)
        there = [*went, *(step.upload.name for step in hosted)]
        complete = len(went) == len(todo)
        self.up.check()
        if complete and there:
            every = [
                step.upload for step in self.plan.steps.values() if step.upload.name in {*there, *self._published()}
            ]
            for name, more in publisher.finish(every, book.host).items():
                locators.setdefault(name, {}).update(more)
        self.declared = check_declared(publisher.declared)
        if self.declared == self.plan.declared:
            for name in [step.upload.name for step in hosted if step.proven]:
                self.files[name].proven, self.locators[name] = True, locators[name]
                there.remove(name)
        self._prove(book, publisher, there, locators, complete)

    def _published(self) -> list[str]:
        return [step.upload.name for step in self.plan.doing(PUBLISHED)]

    def _prove(
        self,
        book: Notebook,
        publisher: Publisher,
        names: list[str],
        locators: dict[str, dict[str, str | int]],
        complete: bool,
    ) -> None:
        """Fetch back what arrived, again and again while the host may not yet serve it."""
        left = {name: self.whole.uploads[name] for name in names}
        folders = book.work_folders(upload.path for upload in left.values())
        patience = 0.0 if not complete else publisher.seconds_until_served() if self._wait is None else self._wait
        until = time.monotonic() + patience
        pause = 0.5
        base = (0, 0)
        while left:
            entries = [
                Entry(name, u.sha256, u.size, locators.get(name, {}) if self._holds_locators(name) else {})
                for name, u in left.items()
            ]
            stranger = Stranger(self.declared, self.settings, folders)
            began = time.monotonic()
            results = stranger.get(entries, lambda now, base=base: self.back.take(base, now))  # type: ignore[misc]
            if all(result == left[name].sha256 for name, result in results.items()):
                self._measure("back", sum(upload.size for upload in left.values()), began)
            for name, result in results.items():
                if result == left[name].sha256:
                    self.files[name].proven, self.files[name].error = True, None
                    self.locators[name] = locators.get(name, {})
                    base = base[0] + 1, base[1] + left.pop(name).size
                else:
                    self.files[name].error = not_served(f"{self.plan.host.redacted}: {name}", result, complete)
            if not left or time.monotonic() >= until:
                return
            if self._stop_event.wait(min(pause, max(0.0, until - time.monotonic()))):
                raise Stopped
            pause = min(10.0, pause * 1.6)

    def _measure(self, what: str, size: int, began: float) -> None:
        seconds = time.monotonic() - began
        if size >= _MEASURED and seconds > 0:
            rates()[f"{what} {self.plan.host.redacted}"] = round(size / seconds)

    def _holds_locators(self, name: str) -> bool:
        known = read_known(self.whole.registry)
        return known is None or known.holds_locators(name)
