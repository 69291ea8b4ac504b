"""Do what a plan says: upload, make public, fetch back anonymously, write the registry."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AccessDenied, Conflict, DataferryError, PublishError, WrongBytes
from ..lookup.configured_hosts import engine_settings
from ..registry.editor import RegistryEditor
from ..registry.registry import Entry
from .compare import Request, as_error, steps_at
from .plan import check_declared, series_of
from .progress import HostProgress, Stopped, TotalProgress, notify
from .proof import Proof, not_proven
from .state import Checkpoint, rates, read_known
from .steps import HOSTED, NEW_VERSION, PUBLISHED, REPAIR, FileOutcome, HostPlan, Outcome, Plan, Step

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..hosts.base import Publisher, Upload

__all__ = ["run"]

_TICK = 0.1
#: After so many failures in a row the host is not asked for every other file as well.
_MOST_FAILURES = 3
_LARGE = 1 << 23
#: Seconds to wait for another run of this author to the same host, which may have been stopped with its lock.
_LOCK_SECONDS = 600.0
#: A rate is noted only if it was measured on so many bytes.
_MEASURED = 1 << 20

_log = logging.getLogger("dataferry")
_Locators = Mapping[str, str | int]


def run(plan: Plan, *, jobs: int | None = None, wait: float | None = None, progress: bool = True) -> Outcome:
    """Do what a plan says.

    Parameters
    ----------
    plan : Plan
        A plan without problems.
    jobs : int, optional
        How many uploads at the same time at each host; by default what is polite there.
    wait : float, optional
        Seconds to wait until users get the files; by default what the host is known to need.
    progress : bool
        Whether to show it.

    Returns
    -------
    Outcome
        What was done; `Outcome.check` raises what failed.
    """
    outcome = Outcome(plan)
    stop = threading.Event()
    settings = engine_settings()
    several = len(plan.hosts) > 1
    hosts = [
        _HostRun(plan, host, settings, stop, jobs, wait, progress, host.host.redacted if several else "")
        for host in plan.hosts
    ]
    up = TotalProgress([host.up for host in hosts], "uploading", progress)
    back = TotalProgress([host.back for host in hosts], "fetching back", progress)
    for host in hosts:
        host.start()
    try:
        for host in hosts:
            while host.is_alive():
                host.join(_TICK)
                up.tick()
                back.tick()
            _register(plan, host, outcome)
    except KeyboardInterrupt as exc:
        exc.add_note("dataferry: what has arrived stays at the host; the same command goes on from there")
        raise
    finally:
        stop.set()
        until = time.monotonic() + 0.5
        for host in hosts:
            host.join(max(0.0, until - time.monotonic()))
        up.tick(finished=True)
        back.tick(finished=True)
    return outcome


def _register(plan: Plan, host: _HostRun, outcome: Outcome) -> None:
    """Write what is proven at one host into the registry, and the host's part of the outcome."""
    proven = [name for name, file in host.files.items() if file.proven and name in host.locators]
    entries = host.entries(proven, host.locators)
    failed: DataferryError | None = None
    if entries:
        try:
            outcome.written += [path for path in _write(plan, host, entries) if path not in outcome.written]
        except DataferryError as error:
            failed = error
            error.add_note("the files are at the host and proven; the same command registers them")
            for entry in entries:
                host.files[entry.name].proven = False
    outcome.files += host.files.values()
    if host.plan.failure is not None:
        outcome.errors.append(host.plan.failure)
    # files that failed together share the error
    shared = {id(file.error): file.error for file in host.files.values() if file.error is not None}
    outcome.errors += shared.values()
    if failed is not None:
        outcome.errors.append(failed)
    else:
        host.forget_proven()


def _write(plan: Plan, host: _HostRun, entries: list[Entry]) -> list[Path]:
    editor = RegistryEditor(plan.registry)
    editor.put(entries, replace=plan.new_version)
    known = read_known(plan.registry)
    if host.declared != (known.dataurl if known else ""):
        first = known is None or not (known.dataurl or known.mirrors)
        if first and host.declared.startswith(("http://", "https://")):
            editor.set_dataurl(host.declared)
        else:
            order = [other.spec for other in plan.hosts]
            before = order[order.index(host.plan.spec) :]
            if plan.new_version and known is not None:  # else users would download the old bytes first
                before += [line for line in known.mirrors if series_of(line) == host.plan.host.series != ""]
            editor.add_mirror(host.declared, before=before)
    return editor.save()


class _HostRun(threading.Thread):
    """One host's part of a run: upload, make public, prove. `files` says what became of each file."""

    def __init__(
        self,
        whole: Plan,
        plan: HostPlan,
        settings: Settings,
        stop: threading.Event,
        jobs: int | None,
        wait: float | None,
        progress: bool,
        label: str,
    ) -> None:
        super().__init__(name=f"dataferry-publish-{plan.host.redacted}", daemon=True)
        self.whole, self.plan, self.settings = whole, plan, settings
        self._stop_event, self._jobs, self._wait, self._progress = stop, jobs, wait, progress
        self.place = plan.host.redacted
        self.files = {
            name: FileOutcome(name, self.place, step.upload.size, step.action, proven=step.action == PUBLISHED)
            for name, step in plan.steps.items()
        }
        self.locators: dict[str, dict[str, str | int]] = {}
        self.declared = plan.spec
        to_prove = [*plan.to_send, *(step for step in plan.doing(HOSTED) if not step.proven)]
        self.up = HostProgress((step.upload.size for step in plan.to_send), label, stop)
        self.back = HostProgress((step.upload.size for step in to_prove), label, stop)
        self._checkpoint: Checkpoint | None = None

    def run(self) -> None:
        """All of it; what fails is noted in `files` and in the plan's ``failure``."""
        publisher = self.plan.publisher
        if publisher is None or self.plan.failure is not None:
            return
        checkpoint = Checkpoint(self.whole.registry, self.plan.spec)
        if not self.plan.to_send and not self.plan.doing(HOSTED):
            # a run that was killed after its last step may have left notes
            self._checkpoint = checkpoint if checkpoint.folder.exists() and checkpoint.acquire() else None
            checkpoint.release()
            return
        self._checkpoint = checkpoint
        try:
            self._wait_for_lock(checkpoint)
            self._publish(checkpoint, publisher)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
            self.plan.failure = as_error(error, self.place)
        finally:
            checkpoint.release()

    def entries(self, names: Iterable[str], locators: Mapping[str, _Locators]) -> list[Entry]:
        """The entries of files as the registry has them; a text registry has no locators."""
        known = read_known(self.whole.registry)
        entries = []
        for name in names:
            upload, keeps = self.whole.uploads[name], known is None or known.keeps_locators(name)
            entries.append(Entry(name, upload.sha256, upload.size, locators.get(name, {}) if keeps else {}))
        return entries

    def forget_proven(self) -> None:
        """Drop the notes of what is proven and registered."""
        if self._checkpoint is None:
            return
        proven = {name: self.whole.uploads[name].sha256 for name, file in self.files.items() if file.proven}
        for name, sha256 in proven.items():
            self._checkpoint.forget_file(name, sha256)
        if undigested := {name: sha256 for name, sha256 in proven.items() if not self._gives_digest(name)}:
            self._checkpoint.proven |= undigested
        if self.plan.failure is None and len(proven) == len(self.files):
            self._checkpoint.forget_host()

    def _gives_digest(self, name: str) -> bool:
        """Whether the host itself will say that it has these bytes, when the next run asks."""
        step, publisher = self.plan.steps[name], self.plan.publisher
        digest = step.hosted is None or step.hosted.matches(step.upload) is not None
        return digest and publisher is not None and publisher.tells_digests

    # -- the steps -----------------------------------------------------------------------------------------------------

    def _wait_for_lock(self, checkpoint: Checkpoint) -> None:
        """Wait for another run of this author; afterwards the host may have more than the plan says."""
        began, waited = time.monotonic(), False
        while not checkpoint.acquire(force=time.monotonic() - began > _LOCK_SECONDS):
            if not waited:
                _log.warning("another run publishes to %s; waiting for it", self.place)
            waited = True
            if self._stop_event.wait(0.2):
                raise Stopped
        if not waited:
            return
        whole, uploads = self.whole, [step.upload for step in self.plan.to_send]
        known = read_known(whole.registry)
        request = Request(whole.registry, known, self.settings, whole.new_version, whole.repair, False)
        for name, step in steps_at(self.plan, uploads, request).items():
            if isinstance(step, Step):
                self.plan.steps[name] = step
                self.files[name].proven = step.action == PUBLISHED
            else:
                self.files[name].error = step
                del self.plan.steps[name]

    def _publish(self, checkpoint: Checkpoint, publisher: Publisher) -> None:
        todo = [step.upload for step in self.plan.to_send]
        hosted = self.plan.doing(HOSTED)
        locators = {step.upload.name: dict(step.hosted.locators) for step in hosted if step.hosted is not None}
        publisher.notify = lambda text: notify(text, self._progress)
        publisher.superseded = {
            step.upload.name: step.hosted for step in self.plan.doing(NEW_VERSION) if step.hosted is not None
        }
        going = {*(upload.name for upload in todo), *(step.upload.name for step in hosted)}
        if going & (proven := checkpoint.proven).keys():  # what was proven once is no proof of what goes now
            checkpoint.proven = {name: sha256 for name, sha256 in proven.items() if name not in going}
        sent: list[str] = []
        if todo:
            if damaged := [step.upload.name for step in self.plan.doing(REPAIR)]:
                publisher.discard(damaged)
            publisher.begin(todo, checkpoint.host)
            began = time.monotonic()
            results = self._upload(checkpoint, publisher, todo)
            self._measure("up", sum(u.size for u in todo if not isinstance(results[u.name], DataferryError)), began)
            for name, result in results.items():
                if isinstance(result, DataferryError):
                    self.files[name].error = result
                else:
                    self.files[name].sent = True
                    locators[name] = dict(result)
                    sent.append(name)
        there = [*sent, *(step.upload.name for step in hosted)]
        complete = len(sent) == len(todo)
        self.up.check()
        if complete and there:
            published = [step.upload.name for step in self.plan.doing(PUBLISHED)]
            every = [step.upload for name, step in self.plan.steps.items() if name in {*there, *published}]
            for name, more in publisher.finish(every, checkpoint.host).items():
                locators.setdefault(name, {}).update(more)
        self.declared = check_declared(publisher.declared)
        if self.declared == self.plan.declared:
            for name in [step.upload.name for step in hosted if step.proven]:
                self.files[name].proven, self.locators[name] = True, locators[name]
                there.remove(name)
        self._prove(checkpoint, publisher, there, locators, complete)

    def _prove(
        self,
        checkpoint: Checkpoint,
        publisher: Publisher,
        names: list[str],
        locators: dict[str, dict[str, str | int]],
        complete: bool,
    ) -> None:
        """Fetch back what arrived, again and again while the host may not yet serve it."""
        left = {name: self.whole.uploads[name] for name in names}
        patience = 0.0 if not complete else publisher.seconds_until_served() if self._wait is None else self._wait
        until, pause, waited = time.monotonic() + patience, 0.5, False
        before = (0, 0)
        while left:
            began = time.monotonic()
            progress = lambda now, before=before: self.back.update(before, now)  # noqa: E731
            proof = Proof(self.declared, self.settings, checkpoint.folder, [u.path for u in left.values()])
            results = proof.fetch(self.entries(left, locators), progress)
            if all(result == left[name].sha256 for name, result in results.items()):
                self._measure("back", sum(upload.size for upload in left.values()), began)
            for name, result in results.items():
                if result == left[name].sha256:
                    self.files[name].proven, self.files[name].error = True, None
                    self.locators[name] = locators.get(name, {})
                    before = before[0] + 1, before[1] + left.pop(name).size
                else:
                    self.files[name].error = not_proven(f"{self.place}: {name}", result, complete)
            seconds = until - time.monotonic()
            if not left or seconds <= 0:
                return
            if not waited:
                files = f"{len(left)} of {len(names)} files"
                notify(f"{self.place}: waiting up to {seconds:.0f} s until users get {files}", self._progress)
            waited = True
            if self._stop_event.wait(min(pause, seconds)):
                raise Stopped
            pause = min(10.0, pause * 1.6)

    def _measure(self, direction: str, size: int, began: float) -> None:
        seconds = time.monotonic() - began
        if size >= _MEASURED and seconds > 0:
            rates()[f"{direction} {self.place}"] = round(size / seconds)

    # -- uploads, several at a time ------------------------------------------------------------------------------------

    def _upload(
        self, checkpoint: Checkpoint, publisher: Publisher, uploads: Sequence[Upload]
    ) -> dict[str, _Locators | DataferryError]:
        """Name -> the file's locators, or why it did not arrive."""
        # what is large is begun first, so that no long one is left for the end
        queue = deque(sorted(uploads, key=lambda u: -u.size if u.size > _LARGE else 0))
        results: dict[str, _Locators | DataferryError] = {}
        in_a_row = 0

        def work() -> None:
            nonlocal in_a_row
            while in_a_row < _MOST_FAILURES:
                try:
                    upload = queue.popleft()
                except IndexError:
                    return
                self.up.begin(upload.name, upload.size)
                result: _Locators | DataferryError
                try:
                    result = self._upload_one(checkpoint, publisher, upload)
                except Stopped:
                    return
                except Exception as error:  # noqa: BLE001 - one failure does not stop the others
                    result = as_error(error, f"{self.place}: {upload.name}")
                self.up.end(upload.name, not isinstance(result, DataferryError))
                results[upload.name] = result
                if isinstance(result, AccessDenied):
                    in_a_row = _MOST_FAILURES
                elif not isinstance(result, Conflict | WrongBytes):  # these say nothing of the host
                    in_a_row = in_a_row + 1 if isinstance(result, DataferryError) else 0

        parallel = min(len(uploads), self._jobs or publisher.parallel)
        threads = [threading.Thread(target=work, name="dataferry-upload", daemon=True) for _ in range(parallel)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.up.check()
            for thread in threads:
                thread.join(0.05 / len(threads))
        self.up.check()
        if missing := [upload.name for upload in uploads if upload.name not in results]:
            word = "file was" if len(missing) == 1 else "files were"
            error = PublishError(self.place, f"{len(missing)} further {word} not tried after so many failures")
            results |= dict.fromkeys(missing, error)
        return {upload.name: results[upload.name] for upload in uploads}

    def _upload_one(self, checkpoint: Checkpoint, publisher: Publisher, upload: Upload) -> _Locators:
        self.up.check()
        self._check_unchanged(upload)
        _log.debug("%s: %s: uploading %d bytes", self.place, upload.name, upload.size)
        notes = checkpoint.file(upload.name, upload.sha256)
        locators = publisher.upload(upload, notes, lambda count: self.up.moved(upload.name, count))
        self._check_unchanged(upload)
        _log.debug("%s: %s: uploaded %s", self.place, upload.name, dict(locators) or "")
        return locators

    def _check_unchanged(self, upload: Upload) -> None:
        try:
            same = self.whole.digests[upload.name].holds(os.stat(upload.path))
        except OSError as error:
            raise WrongBytes(f"{upload.path}: {error.strerror or error}") from error
        if not same:
            raise WrongBytes(f"{upload.path} has changed since it was read; run the same command again")
