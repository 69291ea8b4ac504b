"""Files with random damage: whatever is read of them, the only exception is a `MapError` that names the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["FITS files", "HDF5 files"])
@pytest.mark.parametrize("cases", [200, pytest.param(5_000, marks=pytest.mark.nightly)])
def test_damaged_files(kind: str, cases: int) -> None:
    pytest.importorskip("h5py")
    program = Path(__file__).parents[2] / "benchmarks" / "parser_fuzz"
    done = subprocess.run([sys.executable, program, "--cases", str(cases), kind], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
