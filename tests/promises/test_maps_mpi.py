"""Maps on four MPI ranks: the same sum, and no rank that holds the whole map unasked."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dataferry import PackageData, maps
from dataferry.testing import RangeServer

PROGRAM = """
import json, sys
import numpy as np
from mpi4py import MPI
from dataferry import maps
from dataferry.errors import MapError

comm = MPI.COMM_WORLD
path, damaged = sys.argv[1:]


def report(order):
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
        maps.read_map(damaged, comm=comm, shared=True)
    except MapError as error:
        short = str(error)
    everyone.info.meta["window"].Free()
    of_all = comm.gather([mine.nbytes, changed, "no field 9" in said, "pixel 1000" in short])
    return {"total": total.tolist(), "report": of_all}


reports = {order: report(order) for order in ("RING", "NESTED")}
if comm.rank == 0:
    print(json.dumps(reports))
"""

FAILURES = """
import json, sys
import numpy as np
from mpi4py import MPI
from dataferry import maps

comm = MPI.COMM_WORLD
good, bad, missing = sys.argv[1:]


class Own(Exception):
    def __init__(self):
        super().__init__("cannot be pickled", lambda: 0)


def told(path=good, **options):
    try:
        maps.read_map(path, comm=comm, shared=True, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


class Fails:
    # a path that fails when it is opened

    def __init__(self, error):
        self.error = error

    def __fspath__(self):
        raise self.error


def told_of(error):
    return told(good if comm.rank else Fails(error))


said = [told(missing if comm.rank == 1 else good), told(pixels=[3]), told(out=np.zeros(12))]
said += [told(field=None if comm.rank else 0), told_of(MemoryError("no room")), told_of(Own())]
taken = [comm.Dup() for _ in range(2000)]
for _ in range(60):
    maps.read_map(good, comm=comm, shared=True).info.meta["window"].Free()
    said.append(told(bad))
report = comm.gather(said)
if comm.rank == 0:
    print(json.dumps(report))
"""

REGISTERED = """
import json, sys
from mpi4py import MPI
from dataferry import PackageData
from dataferry.errors import FileUnavailable

comm = MPI.COMM_WORLD
data = PackageData("x", registry=sys.argv[1], show_progress=False)
total = float(data.read_map("maps/a.fits", comm=comm).sum())
try:
    data.read_map("maps/gone.fits", comm=comm)
except FileUnavailable as error:
    report = comm.gather([total, str(error)])
if comm.rank == 0:
    print(json.dumps(report))
"""


def mpiexec() -> str | None:
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def on_ranks(need, count: int, program: str, *arguments: str | Path) -> Any:
    """What a program says on so many ranks; one that waits for the others for ever is an error."""
    need.that("mpi4py", importlib.util.find_spec("mpi4py"), "it is not installed")
    need.that("mpiexec", mpiexec(), "it is not installed")
    command = [mpiexec(), "-n", str(count), sys.executable, "-m", "mpi4py", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def damaged(folder: Path) -> Path:
    """A map of which only the rank that reads it finds out that it is damaged."""
    path = maps.write_map(folder / "bad.fits", [1.0, 2.0], pixels=[0, 1], nside=4)
    raw = bytearray(path.read_bytes())
    raw[5760:5764] = (1000).to_bytes(4, "big")
    path.write_bytes(raw)
    return path


def test_four_ranks(need, tmp_path):
    values = np.random.default_rng(0).standard_normal((3, 12 * 128**2))
    path = maps.write_map(tmp_path / "a.fits", values)
    reports = on_ranks(need, 4, PROGRAM, path, damaged(tmp_path))
    for order in ("RING", "NESTED"):
        np.testing.assert_allclose(reports[order]["total"], values[:2].sum(axis=1), rtol=1e-10)
        assert reports[order]["report"] == [[2 * 12 * 128**2 // 4 * 8, -77.0, True, True]] * 4


def test_what_fails_on_one_rank_fails_on_all(need, tmp_path):
    """And neither success nor failure uses up what MPI has only so many of: 2048 communicators, with MPICH."""
    good = maps.write_map(tmp_path / "good.fits", np.arange(12.0))
    found = on_ranks(need, 2, FAILURES, good, damaged(tmp_path), tmp_path / "missing.fits")
    words = ["missing.fits: cannot be opened", "leave out pixels", "leave out pixels", "different shapes"]
    for said in found:
        assert all(word in line for word, line in zip(words, said, strict=False)), said[:6]
        assert said[4] == "MemoryError: no room"
        assert "cannot be pickled" in said[5]
        assert len(said) == 66
        assert all("pixel 1000 is out of range" in line for line in said[6:])


def test_one_rank_gets_a_registered_map_for_all(need, tmp_path, make_package):
    """A thousand ranks are a thousand requests to a host, or a thousand processes that wait for one another."""
    path = maps.write_map(tmp_path / "a.fits", np.arange(48.0))
    with RangeServer({"maps/a.fits": path.read_bytes()}) as server:
        files = {"maps/a.fits": path.read_bytes(), "maps/gone.fits": b"gone"}
        package = make_package(files, head=f'dataurl = "{server.url}"')
        found = on_ranks(need, 3, REGISTERED, str(PackageData(package).registry.path))
        assert sum(total for total, _ in found) == sum(range(48))
        assert all("'maps/gone.fits' is not available" in said and "404" in said for _, said in found)
        asked = [request.name for request in server.requests]
        assert asked.count("maps/a.fits") == 1
        assert asked.count("maps/gone.fits") <= 2, "once more over a new connection"
