"""Do what a plan says: upload, make public, fetch back anonymously, write the registry."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..errors import AccessDenied, CacheError, Conflict, DataferryError, PublishError, WrongBytes
from ..registry.editor import RegistryEditor
from ..registry.entry import Entry
from ..threads import in_threads
from .outcome import Action, FilePlan, HostPlan, Outcome, Plan
from .plan import as_error, check_declared, files_at, series_of
from .progress import UploadProgress
from .proof import fetch_back, not_proven
from .state import Checkpoint, rates, read_known

#: After so many failures in a row the host is not asked for every other file as well.
_MOST_FAILURES = 3
_LARGE = 1 << 23
#: Seconds to wait for another run of this author to the same host, which may have been stopped with its lock.
_LOCK_SECONDS = 600.0
#: A rate is stored only if it was measured on so many bytes.
_MEASURED = 1 << 20

_log = logging.getLogger("dataferry")


def run(plan: Plan, *, jobs: int | None = None, wait: float | None = None, progress: bool = True) -> Outcome:
    """Do what a plan without problems says; `Outcome.check` raises what failed. Arguments as for `publish`."""
    outcome = Outcome(plan)
    stop = threading.Event()
    to_send = [file.size for host in plan.hosts for file in host.to_send]
    uploads = UploadProgress(to_send, progress, stop)
    hosts = [_HostRun(plan, host, uploads, jobs, wait) for host in plan.hosts]
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
    files = host.plan.files.values()
    proven = [file for file in files if file.proven and file.action != Action.PUBLISHED]
    failed: DataferryError | None = None
    if proven:
        try:
            outcome.written += [path for path in _write(host, proven) if path not in outcome.written]
        except DataferryError as error:
            failed = error
            error.add_note("the files are at the host and proven; the same command registers them")
            for file in proven:
                file.proven = False
    outcome.files += files
    # files that failed together share the error
    errors = [host.plan.failure, *(file.error for file in files), failed]
    outcome.errors += {id(error): error for error in errors if error is not None}.values()
    if failed is None:
        host.forget_proven()


def _write(host: _HostRun, files: Sequence[FilePlan]) -> list[Path]:
    plan = host.whole
    editor = RegistryEditor(plan.registry)
    editor.put(host.entries(files), replace=plan.new_version)
    known = read_known(plan.registry)
    if host.declared != known.dataurl:
        first = not (known.dataurl or known.mirrors)
        if first and host.declared.startswith(("http://", "https://")):
            editor.set_dataurl(host.declared)
        else:
            order = [other.spec for other in plan.hosts]
            before = order[order.index(host.plan.spec) :]
            if plan.new_version:  # else users would download the old bytes first
                before += [line for line in known.mirrors if series_of(line) == host.plan.host.series != ""]
            editor.add_mirror(host.declared, before=before)
    return editor.save()


class _HostRun:
    """One host's part of a run: upload, make public, prove. Its plan's files say what became of each file."""

    def __init__(
        self, whole: Plan, plan: HostPlan, uploads: UploadProgress, jobs: int | None, wait: float | None
    ) -> None:
        self.whole, self.plan, self.publisher = whole, plan, plan.publisher
        self._uploads, self._jobs, self._wait = uploads, jobs, wait
        self._suffix = f" -> {plan.redacted}" if len(whole.hosts) > 1 else ""
        self.declared = plan.spec
        self._checkpoint = Checkpoint(whole.registry, plan.spec)
        self._may_forget = False
        self._failures = 0

    def run(self) -> _HostRun:
        """All of it; what fails is stored in the files and in the plan's ``failure``."""
        if self.plan.failure is not None:
            return self
        checkpoint = self._checkpoint
        try:
            if self.plan.to_send or self.plan.doing(Action.HOSTED):
                self._may_forget = True
                self._wait_for_lock()
                self._publish()
            else:  # a run that was killed at its end may have left notes
                self._may_forget = checkpoint.folder.exists() and checkpoint.acquire()
        except Exception as error:  # noqa: BLE001 - one host's failure does not stop the others
            self.plan.failure = as_error(error, self.plan.redacted)
        finally:
            checkpoint.release()
        return self

    def entries(self, files: Sequence[FilePlan]) -> list[Entry]:
        """The entries of files as the registry has them; a text registry has no locators."""
        known, entries = read_known(self.whole.registry), []
        for file in files:
            locators = file.locators if known.keeps_locators(file.name) else {}
            entries.append(Entry(file.name, file.upload.sha256, file.size, locators))
        return entries

    def forget_proven(self) -> None:
        """Drop the notes of what is proven and registered."""
        if not self._may_forget:
            return
        proven = [file for file in self.plan.files.values() if file.proven]
        for file in proven:
            self._checkpoint.forget_file(file.name, file.upload.sha256)
        if undigested := {file.name: file.upload.sha256 for file in proven if not self._gives_digest(file)}:
            self._checkpoint.proven.replace({**self._checkpoint.proven, **undigested})
        if self.plan.failure is None and len(proven) == len(self.plan.files):
            self._checkpoint.forget_host()

    def _gives_digest(self, file: FilePlan) -> bool:
        """Whether the host itself will say that it has these bytes, when the next run asks."""
        return self.publisher.tells_digests and (file.hosted is None or file.hosted.matches(file.upload) is not None)

    # -- the steps -----------------------------------------------------------------------------------------------------

    def _wait_for_lock(self) -> None:
        """Wait for another run of this author; afterwards the host may have more than the plan says."""
        began, waited = time.monotonic(), False
        while not self._checkpoint.acquire(force=time.monotonic() - began > _LOCK_SECONDS):
            if not waited:
                _log.warning("another run publishes to %s; waiting for it", self.plan.redacted)
            waited = True
            self._uploads.sleep(0.2)
        if waited:
            uploads = [file.upload for file in self.plan.to_send]
            now = replace(self.whole, known=read_known(self.whole.registry))
            self.plan.files |= {file.name: file for file in files_at(now, self.plan, uploads, progress=False)}

    def _publish(self) -> None:
        checkpoint, publisher = self._checkpoint, self.publisher
        to_send, hosted = self.plan.to_send, self.plan.doing(Action.HOSTED)
        publisher.notify, publisher.wait = self._uploads.notify, self._wait
        publisher.superseded = {file.name: file.hosted for file in self.plan.doing(Action.NEW_VERSION) if file.hosted}
        # what was proven once is no proof of what goes now
        going = {file.name for file in [*to_send, *hosted]}
        if going & checkpoint.proven.keys():
            checkpoint.proven.replace({n: sha256 for n, sha256 in checkpoint.proven.items() if n not in going})
        if to_send:
            if damaged := [file.name for file in self.plan.doing(Action.REPAIR)]:
                publisher.damaged = set(damaged)
                publisher.discard(damaged)
            publisher.begin([file.upload for file in to_send], checkpoint.host)
            self._upload(to_send)
        there = [*(file for file in to_send if file.sent), *hosted]
        complete = all(file.sent for file in to_send)
        self._uploads.check()
        if complete and there:
            every = [
                file.upload
                for file in self.plan.files.values()
                if file.sent or file.action in (Action.HOSTED, Action.PUBLISHED)
            ]
            found = publisher.finish(every, checkpoint.host)
            for file in there:
                file.locators.update(found.get(file.name, {}))
        self.declared = check_declared(publisher.declared)
        if self.declared == self.plan.declared:
            for file in hosted:
                file.proven = file.compared
        self._prove([file for file in there if not file.proven], complete)

    def _prove(self, files: Sequence[FilePlan], complete: bool) -> None:
        """Fetch back what arrived, again and again while the host may not yet serve it."""
        left = list(files)
        patience = 0.0 if not complete else self.publisher.seconds_until_served() if self._wait is None else self._wait
        until, pause, waited, disk_failed = time.monotonic() + patience, 0.5, False, False
        progress = self._uploads.proof(self._suffix)
        while left:
            began, size = time.monotonic(), sum(file.size for file in left)
            # if the cache has no space, the author's own disk may have it
            workdirs = [self._checkpoint.folder, *(file.upload.path.absolute().parent for file in left)]
            results = fetch_back(self.declared, self.entries(left), self.whole.settings, workdirs, progress)
            for file in left:
                result = results[file.name]
                file.proven = result == file.upload.sha256
                file.error = None if file.proven else not_proven(file.label, result, complete)
            left = [file for file in left if not file.proven]
            if not left:
                self._measure("back", size, began)
            if left and all(isinstance(results[file.name], CacheError) for file in left):
                if disk_failed:
                    return
                disk_failed = True  # the disk filled meanwhile; the next folder may have space
                continue
            seconds = until - time.monotonic()
            if not left or seconds <= 0:
                return
            if not waited:
                which = f"{len(left)} of {len(files)} files"
                self._uploads.notify(f"{self.plan.redacted}: waiting up to {seconds:.0f} s until users get {which}")
            waited = True
            self._uploads.sleep(min(pause, seconds))
            pause = min(10.0, pause * 1.6)

    def _measure(self, direction: str, size: int, began: float) -> None:
        seconds = time.monotonic() - began
        if size >= _MEASURED and seconds > 0:
            rates()[f"{direction} {self.plan.redacted}"] = round(size / seconds)

    # -- uploads, several at a time ------------------------------------------------------------------------------------

    def _upload(self, files: Sequence[FilePlan]) -> None:
        began = time.monotonic()
        # what is large is begun first, so that no long one is left for the end
        order = sorted(files, key=lambda file: -file.size if file.size > _LARGE else 0)
        for _ in in_threads(self._try_upload, order, min(len(files), self._jobs or self.publisher.parallel)):
            pass
        skipped = [file for file in files if not file.sent and file.error is None]
        word = "file was" if len(skipped) == 1 else "files were"
        error = PublishError(self.plan.redacted, f"{len(skipped)} further {word} not tried after so many failures")
        for file in skipped:
            file.error = error
        self._measure("up", sum(file.size for file in files if file.sent), began)

    def _try_upload(self, file: FilePlan) -> None:
        """Upload a file, unless too many others failed; it gets its locators, or why it did not arrive."""
        self._uploads.check()
        if self._failures >= _MOST_FAILURES:
            return
        label = file.name + self._suffix
        try:
            self._check_unchanged(file)
            _log.debug("%s: uploading %d bytes", file.label, file.size)
            notes = self._checkpoint.file(file.name, file.upload.sha256)
            moved = partial(self._uploads.moved, label, file.size)
            file.locators = dict(self.publisher.upload(file.upload, notes, moved))
            self._check_unchanged(file)
            _log.debug("%s: uploaded %s", file.label, file.locators or "")
            file.sent = True
            self._failures = 0
        except Exception as error:  # noqa: BLE001 - one failure does not stop the others
            file.error = as_error(error, file.label)
            if isinstance(error, AccessDenied):
                self._failures = _MOST_FAILURES
            elif not isinstance(error, Conflict | WrongBytes):  # these say nothing of the host
                self._failures += 1
        self._uploads.end(label, file.size, file.sent)

    def _check_unchanged(self, file: FilePlan) -> None:
        path = file.upload.path
        try:
            same = self.whole.digests[file.name].holds(os.stat(path))
        except OSError as error:
            raise WrongBytes(f"{path}: {error.strerror or error}") from error
        if not same:
            raise WrongBytes(f"{path} has changed since it was read; run the same command again")
