"""Do what a plan says: upload, fetch back as a stranger, write the registry."""

from __future__ import annotations

import threading
import time
from typing import Any

from ..errors import DataferryError
from ..lookup.remote import engine_settings
from ..registry.registry import Entry
from ..registry.registry_edit import RegistryEditor
from .at_host import HostRun
from .known import read_known
from .outcome import Outcome
from .plan import Plan
from .tally import Tally

__all__ = ["run"]

_TICK = 0.1


def run(plan: Plan, *, jobs: int | None = None, wait: float | None = None, progress: bool = True) -> Outcome:
    """Do what a plan says.

    Parameters
    ----------
    plan : Plan
        A plan without problems.
    jobs : int, optional
        How many uploads at the same time at each host; by default what is polite there.
    wait : float, optional
        Seconds to wait until strangers get the files; by default what the host is known to need.
    progress : bool
        Whether to show it.

    Returns
    -------
    Outcome
        What was done; `Outcome.check` raises what did not go well.
    """
    outcome = Outcome(plan)
    stop = threading.Event()
    settings = engine_settings()
    several = len(plan.hosts) > 1
    hosts = [
        HostRun(plan, host, settings, stop, jobs, wait, label=host.host.redacted if several else "")
        for host in plan.hosts
    ]
    up = Tally([host.up for host in hosts], "uploading", progress)
    back = Tally([host.back for host in hosts], "fetching back", progress)
    for host in hosts:
        host.start()
    try:
        for host in hosts:
            while host.is_alive():
                host.join(_TICK)
                up.tick()
                back.tick()
            _register(plan, host, [h.spec for h in plan.hosts], outcome)
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


def _register(plan: Plan, host: HostRun, order: list[str], outcome: Outcome) -> None:
    """Write what is proven at one host into the registry, and the host's part of the outcome."""
    proven = [name for name, result in host.files.items() if result.proven]
    entries = [
        Entry(name, plan.uploads[name].sha256, plan.uploads[name].size, host.known_locators(name))
        for name in proven
        if name in host.locators
    ]
    failed: DataferryError | None = None
    if entries:
        try:
            outcome.written += [path for path in _write(plan, host, entries, order) if path not in outcome.written]
        except DataferryError as error:
            failed = error
            error.add_note("the files are at the host and proven; the same command registers them")
            for entry in entries:
                host.files[entry.name].proven = False
    outcome.files += host.files.values()
    if host.plan.failure is not None:
        outcome.errors.append(host.plan.failure)
    # files that share their fate share the error
    shared = {id(file.error): file.error for file in host.files.values() if file.error is not None}
    outcome.errors += shared.values()
    if failed is not None:
        outcome.errors.append(failed)
    else:
        host.tidy()


def _write(plan: Plan, host: HostRun, entries: list[Entry], order: list[str]) -> list[Any]:
    editor = RegistryEditor(plan.registry)
    editor.put(entries, replace=plan.new_version)
    declared = host.declared
    known = read_known(plan.registry)
    if declared != (known.dataurl if known else ""):
        first = known is None or not (known.dataurl or known.mirrors)
        if first and declared.startswith(("http://", "https://")):
            editor.set_dataurl(declared)
        else:
            later = order[order.index(host.plan.spec) :]
            editor.add_mirror(declared, before=later)
    return editor.save()
