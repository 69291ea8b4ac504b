"""The long proofs of the transport: kills at random moments, crowds, mirrors, every fault at 40 MB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]


def run(repository: Path, *words: str) -> str:
    script = repository / "benchmarks" / "nightly.py"
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=True)
    sys.stdout.write(done.stdout)
    return done.stdout


def test_kills(repository: Path) -> None:
    text = run(repository, "kill", "--times", "200")
    assert " 0 wrong files" in text
    assert float(text.split(" x the bytes")[0].split()[-1]) <= 1.2


def test_crowds(repository: Path) -> None:
    lines = [line for line in run(repository, "crowd").splitlines() if "dataferry" in line]
    assert len(lines) == 3
    # A connection that another one helps is closed with bytes of its own on the way.
    assert all(float(line.split(" x the bytes")[0].split()[-1]) < 1.3 and "WRONG" not in line for line in lines)


def test_mirrors(repository: Path) -> None:
    lines = run(repository, "mirrors").splitlines()
    assert all(": right, " in line for line in lines)


def test_faults(repository: Path) -> None:
    lines = run(repository, "faults").splitlines()
    assert lines
    assert not any("WRONG" in line for line in lines)
    assert all("with a mirror: right" in line for line in lines)


def test_memory(repository: Path) -> None:
    text = run(repository, "memory")
    assert int(text.split("import: ")[1].split()[0]) < 100


def test_random_faults(repository: Path) -> None:
    words = [sys.executable, repository / "benchmarks" / "fault_fuzz.py", "--cases", "5000", "--threads", "12"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_random_input_for_every_parser(repository: Path) -> None:
    words = [sys.executable, repository / "benchmarks" / "parser_fuzz", "--cases", "2000"]
    done = subprocess.run(words, capture_output=True, text=True)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
