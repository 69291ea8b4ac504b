"""Python programs that start at once: forks of a process that has imported what most of them import anyway.

A start of Python, pytest and astropy takes half a second of CPU, and some tests want dozens. This file is also the
program that forks: ``python fork_server.py MODULE...`` takes jobs as lines of JSON and answers with exit codes.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any


class ForkServer:
    """Runs ``python -m ...`` in forks, one at a time.

    A program that is about its start, its environment variables for Python or its astropy configuration needs a
    process of its own.
    """

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(30)
        self._process.stdout.close()  # type: ignore[union-attr]

    def run(
        self, module: str, *args: str, cwd: str | Path, env: Mapping[str, str], timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a module with arguments, with exactly these variables."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None and pipe_out is not None
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / "stdout", Path(folder) / "stderr"]
            job = {"argv": [module, *args], "cwd": str(cwd), "env": dict(env), "files": [str(file) for file in files]}
            pipe_in.write(json.dumps(job).encode() + b"\n")
            pipe_in.flush()
            if not select.select([pipe_out], [], [], timeout)[0]:
                self._process.kill()
                raise subprocess.TimeoutExpired([module, *args], timeout)
            code = int(pipe_out.readline())
            return subprocess.CompletedProcess([module, *args], code, *(file.read_text() for file in files))


def _become(job: dict[str, Any]) -> None:
    """Make this fork the process that ``python -m`` would have started."""
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    for fd, file in enumerate([os.devnull, *job["files"]]):
        new = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(new, fd)
        os.close(new)
    sys.argv = job["argv"]
    sys.path[0] = job["cwd"]


def _serve(jobs: int, answers: int) -> dict[str, Any] | None:
    """Fork for each job and wait for its end; returns the job in the fork, and None when there are no more."""
    with os.fdopen(jobs, "rb") as lines:
        for line in lines:
            pid = os.fork()
            if pid == 0:
                return json.loads(line)  # type: ignore[no-any-return]
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.write(answers, b"%d\n" % code)
    return None


def _main() -> None:
    jobs, answers = os.dup(0), os.dup(1)
    for name in sys.argv[1:]:
        import_module(name)
    gc.freeze()  # the forks share these pages
    job = _serve(jobs, answers)
    os.close(answers)
    if job is not None:
        _become(job)
        runpy.run_module(job["argv"][0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
