"""Do what a plan says: upload, make public, fetch back anonymously, write the registry."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AccessDenied, Conflict, DataferryError, PublishError, WrongBytes
from ..registry.editor import RegistryEditor
from ..registry.registry import Entry
from .compare import as_error, steps_at
from .plan import check_declared, series_of
from .progress import Stopped, UploadProgress, notify, proof_progress
from .proof import fetch_back, not_proven
from .state import Checkpoint, rates, read_known
from .steps import HOSTED, NEW_VERSION, PUBLISHED, REPAIR, FileOutcome, HostPlan, Outcome, Plan, Step
from .threads import in_threads

if TYPE_CHECKING:
    from ..hosts.base import Upload

__all__ = ["run"]

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
    to_send = [step.upload.size for host in plan.hosts for step in host.to_send]
    uploads = UploadProgress(to_send, progress, stop)
    hosts = [_HostRun(plan, host, uploads, stop, jobs, wait, progress) for host in plan.hosts]
    try:
        with closing(in_threads(_HostRun.run, hosts, len(hosts), stop)) as finished:
            for host in finished:
                _register(host, outcome)
    except KeyboardInterrupt as exc:
        exc.add_note("dataferry: what has arrived stays at the host; the same command goes on from there")
        raise
    finally:
        uploads.close()
    return outcome


def _register(host: _HostRun, outcome: Outcome) -> None:
    """Write what is proven at one host into the registry, and the host's part of the outcome."""
    entries = host.entries(name for name, file in host.files.items() if file.proven and name in host.locators)
    failed: DataferryError | None = None
    if entries:
        try:
            outcome.written += [path for path in _write(host, entries) if path not in outcome.written]
        except DataferryError as error:
            failed = error
            error.add_note("the files are at the host and proven; the same command registers them")
            for entry in entries:
                host.files[entry.name].proven = False
    outcome.files += host.files.values()
    # files that failed together share the error
    errors = [host.plan.failure, *(file.error for file in host.files.values()), failed]
    outcome.errors += {id(error): error for error in errors if error is not None}.values()
    if failed is None:
        host.forget_proven()


def _write(host: _HostRun, entries: list[Entry]) -> list[Path]:
    plan = host.whole
    editor = RegistryEditor(plan.registry)
    editor.put(entries, replace=plan.new_version)
    known = read_known(plan.registry)
    if host.declared != (known.dataurl if known is not None else ""):
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


class _HostRun:
    """One host's part of a run: upload, make public, prove. `files` says what became of each file."""

    def __init__(
        self,
        whole: Plan,
        plan: HostPlan,
        uploads: UploadProgress,
        stop: threading.Event,
        jobs: int | None,
        wait: float | None,
        progress: bool,
    ) -> None:
        self.whole, self.plan, self.publisher = whole, plan, plan.publisher
        self._uploads, self._stop, self._jobs, self._wait, self._progress = uploads, stop, jobs, wait, progress
        self.place = plan.host.redacted
        self._label = f" -> {self.place}" if len(whole.hosts) > 1 else ""
        self.files = {
            name: FileOutcome(name, self.place, step.upload.size, step.action, proven=step.action == PUBLISHED)
            for name, step in plan.steps.items()
        }
        self.locators: dict[str, dict[str, str | int]] = {}
        self.declared = plan.spec
        self._checkpoint = Checkpoint(whole.registry, plan.spec)
        self._may_forget = False
        self._failures = 0

    def run(self) -> _HostRun:
        """All of it; what fails is noted in `files` and in the plan's ``failure``."""
        checkpoint = self._checkpoint
        if self.plan.failure is not None:
            return self
        try:
            if self.plan.to_send or self.plan.doing(HOSTED):
                self._may_forget = True
                self._wait_for_lock()
                self._publish()
            else:  # a run that was killed after its last step may have left notes
                self._may_forget = checkpoint.folder.exists() and checkpoint.acquire()
        except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
            self.plan.failure = as_error(error, self.place)
        finally:
            checkpoint.release()
        return self

    def entries(self, names: Iterable[str]) -> list[Entry]:
        """The entries of files as the registry has them; a text registry has no locators."""
        known = read_known(self.whole.registry)
        entries = []
        for name in names:
            upload, keeps = self.whole.uploads[name], known is None or known.keeps_locators(name)
            entries.append(Entry(name, upload.sha256, upload.size, self.locators.get(name, {}) if keeps else {}))
        return entries

    def forget_proven(self) -> None:
        """Drop the notes of what is proven and registered."""
        if not self._may_forget:
            return
        proven = {name: self.whole.uploads[name].sha256 for name, file in self.files.items() if file.proven}
        for name, sha256 in proven.items():
            self._checkpoint.forget_file(name, sha256)
        if undigested := {name: sha256 for name, sha256 in proven.items() if not self._gives_digest(name)}:
            self._checkpoint.proven.replace({**self._checkpoint.proven, **undigested})
        if self.plan.failure is None and len(proven) == len(self.files):
            self._checkpoint.forget_host()

    def _gives_digest(self, name: str) -> bool:
        """Whether the host itself will say that it has these bytes, when the next run asks."""
        step = self.plan.steps[name]
        return self.publisher.tells_digests and (step.hosted is None or step.hosted.matches(step.upload) is not None)

    # -- the steps -----------------------------------------------------------------------------------------------------

    def _wait_for_lock(self) -> None:
        """Wait for another run of this author; afterwards the host may have more than the plan says."""
        began, waited = time.monotonic(), False
        while not self._checkpoint.acquire(force=time.monotonic() - began > _LOCK_SECONDS):
            if not waited:
                _log.warning("another run publishes to %s; waiting for it", self.place)
            waited = True
            self._sleep(0.2)
        if not waited:
            return
        uploads = [step.upload for step in self.plan.to_send]
        now = replace(self.whole, known=read_known(self.whole.registry))
        for name, step in steps_at(now, self.plan, uploads, progress=False).items():
            if isinstance(step, Step):
                self.plan.steps[name] = step
                self.files[name].proven = step.action == PUBLISHED
            else:
                self.files[name].error = step
                del self.plan.steps[name]

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped

    def _publish(self) -> None:
        checkpoint, publisher, locators = self._checkpoint, self.publisher, self.locators
        todo = [step.upload for step in self.plan.to_send]
        hosted = {step.upload.name: step for step in self.plan.doing(HOSTED)}
        for name, step in hosted.items():
            locators[name] = dict(step.hosted.locators) if step.hosted is not None else {}
        publisher.notify = lambda text: notify(text, self._progress)
        publisher.superseded = {
            step.upload.name: step.hosted for step in self.plan.doing(NEW_VERSION) if step.hosted is not None
        }
        # what was proven once is no proof of what goes now
        going = {*(upload.name for upload in todo), *hosted}
        if going & checkpoint.proven.keys():
            checkpoint.proven.replace({n: sha256 for n, sha256 in checkpoint.proven.items() if n not in going})
        sent: list[str] = []
        if todo:
            if damaged := [step.upload.name for step in self.plan.doing(REPAIR)]:
                publisher.discard(damaged)
            publisher.begin(todo, checkpoint.host)
            sent = self._upload(todo)
        there = [*sent, *hosted]
        complete = len(sent) == len(todo)
        self._uploads.check()
        if complete and there:
            published = [step.upload.name for step in self.plan.doing(PUBLISHED)]
            every = [step.upload for name, step in self.plan.steps.items() if name in {*there, *published}]
            for name, more in publisher.finish(every, checkpoint.host).items():
                if name in there:
                    locators.setdefault(name, {}).update(more)
        self.declared = check_declared(publisher.declared)
        if self.declared == self.plan.declared:
            for name in [name for name, step in hosted.items() if step.proven]:
                self.files[name].proven = True
                there.remove(name)
        self._prove(there, complete)

    def _prove(self, names: list[str], complete: bool) -> None:
        """Fetch back what arrived, again and again while the host may not yet serve it."""
        left = {name: self.whole.uploads[name] for name in names}
        patience = 0.0 if not complete else self.publisher.seconds_until_served() if self._wait is None else self._wait
        until, pause, waited = time.monotonic() + patience, 0.5, False
        progress = proof_progress(self._label, self._progress, self._stop)
        while left:
            began, size = time.monotonic(), sum(upload.size for upload in left.values())
            # if the cache has no space, the author's own disk may have it
            workdirs = [self._checkpoint.folder, *(upload.path.absolute().parent for upload in left.values())]
            results = fetch_back(self.declared, self.entries(left), self.whole.settings, workdirs, progress)
            for name, result in results.items():
                if result == left[name].sha256:
                    self.files[name].proven, self.files[name].error = True, None
                    del left[name]
                else:
                    self.files[name].error = not_proven(f"{self.place}: {name}", result, complete)
            seconds = until - time.monotonic()
            if not left:
                self._measure("back", size, began)
            if not left or seconds <= 0:
                return
            if not waited:
                files = f"{len(left)} of {len(names)} files"
                notify(f"{self.place}: waiting up to {seconds:.0f} s until users get {files}", self._progress)
            waited = True
            self._sleep(min(pause, seconds))
            pause = min(10.0, pause * 1.6)

    def _measure(self, direction: str, size: int, began: float) -> None:
        seconds = time.monotonic() - began
        if size >= _MEASURED and seconds > 0:
            rates()[f"{direction} {self.place}"] = round(size / seconds)

    # -- uploads, several at a time ------------------------------------------------------------------------------------

    def _upload(self, uploads: Sequence[Upload]) -> list[str]:
        """The names of the files that arrived."""
        began = time.monotonic()
        # what is large is begun first, so that no long one is left for the end
        order = sorted(uploads, key=lambda u: -u.size if u.size > _LARGE else 0)
        parallel = min(len(uploads), self._jobs or self.publisher.parallel)
        results = dict(zip((u.name for u in order), in_threads(self._try_upload, order, parallel), strict=True))
        sent, skipped = [], []
        for upload in uploads:
            result = results[upload.name]
            if result is None:
                skipped.append(upload.name)
            elif isinstance(result, DataferryError):
                self.files[upload.name].error = result
            else:
                sent.append(upload.name)
                self.files[upload.name].sent = True
                self.locators[upload.name] = dict(result)
        word = "file was" if len(skipped) == 1 else "files were"
        error = PublishError(self.place, f"{len(skipped)} further {word} not tried after so many failures")
        for name in skipped:
            self.files[name].error = error
        self._measure("up", sum(self.whole.uploads[name].size for name in sent), began)
        return sent

    def _try_upload(self, upload: Upload) -> _Locators | DataferryError | None:
        """The file's locators, or why it did not arrive; None if it was not tried after so many failures."""
        self._uploads.check()
        if self._failures >= _MOST_FAILURES:
            return None
        result: _Locators | DataferryError
        try:
            result = self._upload_one(upload)
        except Exception as error:  # noqa: BLE001 - one failure does not stop the others
            result = as_error(error, f"{self.place}: {upload.name}")
        failed = isinstance(result, DataferryError)
        self._uploads.end(upload.name + self._label, upload.size, not failed)
        if isinstance(result, AccessDenied):
            self._failures = _MOST_FAILURES
        elif not isinstance(result, Conflict | WrongBytes):  # these say nothing of the host
            self._failures = self._failures + 1 if failed else 0
        return result

    def _upload_one(self, upload: Upload) -> _Locators:
        name, label = upload.name, upload.name + self._label
        self._check_unchanged(upload)
        _log.debug("%s: %s: uploading %d bytes", self.place, name, upload.size)
        notes = self._checkpoint.file(name, upload.sha256)
        locators = self.publisher.upload(upload, notes, lambda count: self._uploads.moved(label, upload.size, count))
        self._check_unchanged(upload)
        _log.debug("%s: %s: uploaded %s", self.place, name, dict(locators) or "")
        return locators

    def _check_unchanged(self, upload: Upload) -> None:
        try:
            same = self.whole.digests[upload.name].holds(os.stat(upload.path))
        except OSError as error:
            raise WrongBytes(f"{upload.path}: {error.strerror or error}") from error
        if not same:
            raise WrongBytes(f"{upload.path} has changed since it was read; run the same command again")
