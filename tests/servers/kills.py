"""Kill a command with SIGKILL, when something is seen or after a while, and run it again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest


class Killer:
    """Runs ``dataferry`` with some arguments as a process of its own."""

    def __init__(self, args: Sequence[object], env: Mapping[str, str], cwd: Path) -> None:
        self.args = [str(Path(sys.executable).with_name("dataferry")), *map(str, args)]
        self.env, self.cwd = {**os.environ, **env}, cwd

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.args,
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kill(self, when: Callable[[], object] | float) -> bool:
        """Start it and kill it once `when` is true, or after so many seconds; False if it had ended before."""
        process, began = self.start(), time.monotonic()
        try:
            while process.poll() is None and time.monotonic() - began < 60:
                if time.monotonic() - began >= when if isinstance(when, int | float) else when():
                    break
                time.sleep(0.0005)
            killed = process.poll() is None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        return killed

    def finish(self) -> str:
        """Run it to its end, which must be a good one; what it prints."""
        process = self.start()
        try:
            said, _ = process.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.returncode == 0, said
        return said


@pytest.fixture
def killer() -> type[Killer]:
    """``killer(args, env, cwd)``, then ``kill(when)`` and ``finish()``."""
    return Killer
