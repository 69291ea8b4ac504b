"""Publishing to a bucket: 2,000 small files and one of 5 GB, beside s3cmd, rclone and aws.

Run with ``python benchmarks/publish_s3.py`` in an environment with ``pip install -e '.[test]'``. The store is Ceph's
radosgw in memory, started by this script (`tests/servers/radosgw.py` says what it needs). s3cmd, rclone and aws take
part if they are on the PATH. Needs 14 GB of memory and 11 GB of disk for the large file; ``--large 1`` takes a smaller
one. The table goes to docs/benchmarks_publish.inc. Linux only, where the kernel tells the peak of a process.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = {
    "dataferry publish, with the proof": sys.executable,
    "s3cmd sync": "s3cmd",
    "rclone copy": "rclone",
    "rclone copy, 32 transfers": "rclone",
    "aws s3 sync": "aws",
}


def gateway_of(home: Path, memory: int) -> Any:
    name = "dataferry_test_servers"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "servers" / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    start: Callable[..., Any] = sys.modules[f"{name}.radosgw"].start_radosgw
    return start(home, memory=memory)


def commands(gateway: Any, folder: Path, bucket: str, home: Path) -> dict[str, list[str]]:
    """What each program is called with: its defaults, and for rclone also as many transfers as it has here."""
    (home / "rclone.conf").write_text(
        f"[c]\ntype = s3\nprovider = Ceph\nendpoint = {gateway.url}\n"
        f"access_key_id = {gateway.owner.key}\nsecret_access_key = {gateway.owner.secret}\n"
    )
    (home / "s3cfg").write_text(
        f"[default]\naccess_key = {gateway.owner.key}\nsecret_key = {gateway.owner.secret}\nuse_https = False\n"
        f"host_base = 127.0.0.1:{gateway.port}\nhost_bucket = 127.0.0.1:{gateway.port}/%(bucket)\n"
    )
    spec = gateway.spec(bucket, "v1/", version="off")
    registry = home / "mypkg" / "data" / "dataferry.toml"
    shutil.rmtree(registry.parent, ignore_errors=True)
    registry.parent.mkdir(parents=True)
    registry.touch()
    place = [f"s3://{bucket}/v1/"]
    rclone = ["rclone", "--config", str(home / "rclone.conf"), "copy", str(folder), f"c:{bucket}/v1/"]
    return {
        "dataferry publish, with the proof": [
            *(sys.executable, "-m", "dataferry", "publish", str(folder), "--to", spec, "--package", str(registry)),
        ],
        "s3cmd sync": ["s3cmd", "-q", "-c", str(home / "s3cfg"), "sync", f"{folder}/", *place],
        "rclone copy": rclone,
        "rclone copy, 32 transfers": [*rclone, "--transfers", "32", "--checkers", "32"],
        "aws s3 sync": ["aws", "--endpoint-url", gateway.url, "s3", "sync", "--only-show-errors", str(folder), *place],
    }


def timed(words: list[str], env: dict[str, str]) -> tuple[float, int]:
    """Seconds, and the peak of the resident memory in bytes."""
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(
        words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as run:
        while run.poll() is None:
            try:
                status = Path(f"/proc/{run.pid}/status").read_text()
                peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]) * 1024)
            except (OSError, IndexError):
                pass  # it has just ended
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        output = run.stderr.read().decode() if run.stderr else ""
    if run.returncode:
        raise SystemExit(f"{' '.join(words)}\n{output}")
    return seconds, peak


def environment(gateway: Any, home: Path) -> dict[str, str]:
    # a CA bundle in the environment keeps rclone 1.60 from starting
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    folders = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_CONFIG_HOME": str(home / "config")}
    fixed = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": str(ROOT)}
    # newer versions of aws send checksums that this store does not know
    fixed["AWS_REQUEST_CHECKSUM_CALCULATION"] = "when_required"
    return {**kept, **folders, **fixed, **gateway.owner.environ}


def once(name: str, folder: Path, files: int, size: int) -> tuple[float, int]:
    """One run of a program against a store of its own, so that nobody finds what another left."""
    home = Path(tempfile.mkdtemp(prefix="ceph-"))
    gateway = gateway_of(home / "store", int(files * size * 1.2) + (1 << 30))
    try:
        bucket = gateway.bucket()
        result = timed(commands(gateway, folder, bucket, home)[name], environment(gateway, home))
        pages = gateway.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        sizes = [item["Size"] for page in pages for item in page.get("Contents", ())]
        assert sizes == [size] * files, f"{name}: {len(sizes)} objects"
        return result
    finally:
        gateway.stop()
        shutil.rmtree(home, ignore_errors=True)


def measure(files: int, size: int, rounds: int, work: Path) -> dict[str, tuple[float, int]]:
    folder = work / f"files-{files}"
    folder.mkdir()
    for number in range(files):
        with open(folder / f"map_{number:05}.fits", "wb") as file:
            left = size
            while left:
                left -= file.write(os.urandom(min(left, 1 << 24)))
    names = [name for name, program in PROGRAMS.items() if shutil.which(program)]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    peaks = dict.fromkeys(names, 0)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody is always first
            took, peak = once(name, folder, files, size)
            seconds[name].append(took)
            peaks[name] = max(peaks[name], peak)
            print(f"{turn + 1}/{rounds}  {name:<36} {took:7.2f} s  {peak / 1e6:6.0f} MB", flush=True)
    shutil.rmtree(folder)
    return {name: (statistics.median(several), peaks[name]) for name, several in seconds.items()}


def table(results: dict[str, dict[str, tuple[float, int]]]) -> str:
    first = next(iter(results.values()))
    base = next(iter(first))
    head = ["program", *(f"{work}, {what}" for work in results for what in ("seconds", "ratio", "peak MB"))]
    lines = [",".join(f'"{cell}"' for cell in head)]
    for name in first:
        row = [f'"{name}"']
        for result in results.values():
            took, peak = result[name]
            row += [f"{took:.2f}", f"{took / result[base][0]:.2f}", f"{peak / 1e6:.0f}"]
        lines.append(",".join(row))
    return ".. csv-table::\n   :header-rows: 1\n\n" + "".join(f"   {line}\n" for line in lines)


def versions() -> str:
    found = []
    for words in (["radosgw", "--version"], ["s3cmd", "--version"], ["rclone", "--version"], ["aws", "--version"]):
        if shutil.which(words[0]):
            output = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[0]
            found.append(" ".join(output.split()[:3]).replace("ceph version", "radosgw"))
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=2000, help="small files of 20 kB (2000)")
    parser.add_argument("--large", type=float, default=5.0, help="GB of the large file; 0 for none (5)")
    parser.add_argument("--rounds", type=int, default=3, help="times the small files go up (3)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks_publish.inc")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="publish-") as folder:
        results = {f"{args.files:,} files of 20 kB": measure(args.files, 20_000, args.rounds, Path(folder))}
        if args.large:
            results[f"one of {args.large:g} GB"] = measure(1, int(args.large * 1e9), 1, Path(folder))
    text = table(results)
    day = datetime.now(UTC).date()
    note = f".. {day}, Python {platform.python_version()}, {os.cpu_count()} cores; {versions()}\n\n"
    print("\n" + note + text)
    args.out.write_text(note + text)


if __name__ == "__main__":
    main()
