"""Maps on four MPI ranks: the same sum, and no rank that holds the whole map unasked."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataferry import maps

PROGRAM = """
import json, sys
import numpy as np
from mpi4py import MPI
from dataferry import maps
from dataferry.errors import MapError

comm = MPI.COMM_WORLD
path, order = sys.argv[1:3]
mine = maps.read_map(path, (0, 1), order=order, comm=comm)
first, last = mine.info.meta["pixels"]
assert mine.shape == (2, last - first), mine.shape
total = comm.allreduce(mine.value.sum(axis=1, dtype="f8"))
own = maps.read_map(path, 0, order=order, comm=comm, pixels=np.arange(comm.rank, 1000, comm.size), nside=64)
everyone = maps.read_map(path, 0, order=order, comm=comm, shared=True, nside=64)
assert np.array_equal(everyone.value[comm.rank:1000:comm.size], own.value)
comm.barrier()
if comm.rank == 0:
    everyone.value[5] = -77
comm.barrier()
changed = float(everyone.value[5])
comm.barrier()
try:
    maps.read_map(path, 9, comm=comm, shared=True)
except MapError as error:
    said = str(error)
try:
    maps.read_map(sys.argv[3], comm=comm, shared=True)
except MapError as error:
    short = str(error)
everyone.info.meta["window"].Free()
report = comm.gather([mine.nbytes, changed, "no field 9" in said, "pixel -1" in short])
if comm.rank == 0:
    print(json.dumps({"total": total.tolist(), "report": report}))
"""


def mpiexec() -> str | None:
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


@pytest.mark.parametrize("order", ["RING", "NESTED"])
def test_four_ranks(need, tmp_path, order):
    need.that("mpi4py", importlib.util.find_spec("mpi4py"), "it is not installed")
    need.that("mpiexec", mpiexec(), "it is not installed")
    values = np.random.default_rng(0).standard_normal((3, 12 * 128**2))
    path = maps.write_map(tmp_path / "a.fits", values)
    # what only the rank that reads can find out has to reach the others
    bad = maps.write_map(tmp_path / "bad.fits", [1.0, 2.0], pixels=[0, 1], nside=4)
    raw = bytearray(bad.read_bytes())
    raw[5760:5764] = b"\xff" * 4
    bad.write_bytes(raw)
    command = [mpiexec(), "-n", "4", sys.executable, "-m", "mpi4py", "-c", PROGRAM, path, order, bad]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(found["total"], values[:2].sum(axis=1), rtol=1e-10)
    assert found["report"] == [[2 * 12 * 128**2 // 4 * 8, -77.0, True, True]] * 4
