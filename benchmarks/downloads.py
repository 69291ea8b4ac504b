"""Downloads through public calls, beside others: ``python benchmarks/downloads.py [--only WORK] [--quick] [--rst F]``.

Needs nginx, and trustme for https; curl, axel, aria2c, requests, pooch, parfive and astropy are measured where they are
installed. The cache is empty each time, and every program ends with files on disk whose sha256 was checked. The
programs take turns, so that a busy machine is busy for all of them. The median of the runs is printed, and its ratio
to a peer of the same run.

ext4 without a journal, as in some virtual machines, is up to ten times slower at making files for a minute after
thousands of others were removed, since it passes by their inodes. ``--folder`` names a place on another file system.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataferry.testing import CertificateAuthority, Cut, RangeServer

HERE = Path(__file__).resolve().parent
LINK = HERE.parent / "tests" / "servers" / "delay_link.py"
COMMAND = "python benchmarks/downloads.py --only"
Result = dict[str, float]
File = dict[str, Any]


@dataclass
class Work:
    """What is downloaded, from which server, by whom."""

    name: str
    files: str
    server: str
    reference: str
    programs: tuple[str, ...]
    few: tuple[str, ...] = ()  # programs that get a tenth of the files, scaled
    connections: int | None = None


CURL = "curl --parallel"
NOW = "curl --parallel-immediate"
SLOW = ("requests", "pooch", "parfive", "astropy")
WORKS = (
    Work("small", "small", "http", CURL, ("dataferry", "dataferry get", CURL, NOW, "aria2c -x16", *SLOW)),
    Work("small https", "small", "https", CURL, ("dataferry", CURL, NOW, *SLOW)),
    Work("small 40 ms", "small", "http far", CURL, ("dataferry", CURL, NOW, "aria2c -x16", *SLOW), SLOW),
    Work("small 40 ms https", "small", "https far", CURL, ("dataferry", CURL, NOW, "requests"), ("requests",)),
    Work(
        "small 40 ms http2 2 connections",
        "small",
        "https far",
        CURL,
        ("dataferry", CURL),
        connections=2,
    ),
    Work(
        "2 GB", "large", "http", "copy and sha256", ("copy and sha256", "dataferry", "dataferry get", "requests", CURL)
    ),
    Work("20 MB/s a connection", "medium", "limited", "axel -n 16", ("dataferry", "axel -n 16", "aria2c -x16", CURL)),
    Work(
        "20 MB/s a connection 40 ms",
        "medium",
        "limited far",
        "axel -n 16",
        ("dataferry", "axel -n 16", "aria2c -x16", CURL),
    ),
    Work("500 MB https", "half", "https", "requests", ("dataferry", "requests", CURL)),
    Work("50 x 10 MB", "mid", "http", "requests", ("dataferry", "requests", CURL, "copy and sha256")),
)


def make(folder: Path, kinds: set[str], quick: bool) -> dict[str, list[File]]:
    """Random files with their hashes."""
    part = 10 if quick else 1
    plan = {
        "warm": (1, 1000),
        "small": (2000 // part, 20_000),
        "large": (1, 2_000_000_000 // part),
        "medium": (1, 256_000_000),
        "half": (1, 500_000_000 // part),
        "mid": (50 // part, 10_000_000),
    }
    made: dict[str, list[File]] = {}
    for kind in kinds | {"warm"}:
        count, size = plan[kind]
        (folder / kind).mkdir()
        made[kind] = []
        for index in range(count):
            path, digest, left = folder / kind / f"{index:04d}.bin", hashlib.sha256(), size
            with path.open("wb") as stream:
                while left:
                    block = random.randbytes(min(left, 1 << 22))
                    stream.write(block)
                    digest.update(block)
                    left -= len(block)
            file = {"path": str(path), "name": f"{kind}/{path.name}", "flat": path.name, "size": size}
            made[kind].append(file | {"sha256": digest.hexdigest()})
    return made


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def servers(home: Path, folder: Path, ca: CertificateAuthority) -> Iterator[dict[str, str]]:
    """nginx over http and https (with HTTP/2), one that limits each connection, and links of 40 ms to them."""
    near = {name: free_port() for name in ("http", "https", "limited")}
    far = {f"{name} far": free_port() for name in near}
    for part in (home, folder):
        part.chmod(0o755)
    chain, key = ca.certificate("127.0.0.1", "localhost")
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"""{"user root;" if os.geteuid() == 0 else ""}
        daemon off; worker_processes 2; pid {home}/pid; error_log {home}/error.log;
        events {{ worker_connections 1024; }}
        http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; root {folder}; {temporary}
        server {{ listen 127.0.0.1:{near["http"]} backlog=1024; }}
        server {{ listen 127.0.0.1:{near["https"]} ssl http2 backlog=1024;
                  ssl_certificate {chain}; ssl_certificate_key {key}; }}
        server {{ listen 127.0.0.1:{near["limited"]} backlog=1024; limit_rate 20m; }} }}"""
    )
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is None:
        raise SystemExit("nginx is not installed")
    commands = [[nginx, "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]]
    for name, port in near.items():
        commands.append([sys.executable, str(LINK), str(far[f"{name} far"]), "127.0.0.1", str(port), "0.04"])
    started = [subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True) for words in commands]
    try:
        ports = near | far
        for port in ports.values():
            for _ in range(100):
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.05)
        yield {
            name: f"{'https' if name.startswith('https') else 'http'}://127.0.0.1:{port}/"
            for name, port in ports.items()
        }
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def run(program: str, work: Work, made: dict[str, list[File]], base: str, out: Path, ca: Path) -> Result:
    files = made[work.files]
    part = files[: max(1, len(files) // 10)] if program in work.few else files
    job = {
        "base": base,
        "files": [item | {"url": base + str(item["name"])} for item in part],
        "warm": made["warm"][0],
        "out": str(out),
        "connections": work.connections,
        "remove": len(files) < 100,  # what was removed a moment ago makes new small files slow on ext4
    }
    variables = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    env = os.environ | (dict.fromkeys(variables, str(ca)) if base.startswith("https") else {})
    words = [sys.executable, str(HERE / "download_engines.py"), program]
    done = subprocess.run(words, input=json.dumps(job), env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-400:] or done.stdout)
    result: Result = json.loads(done.stdout.splitlines()[-1])
    scale = len(files) / len(part)
    return {"seconds": result["seconds"] * scale, "cpu": result["cpu"] * scale, "memory": result["memory"]}


def measure(work: Work, made: dict[str, list[File]], base: str, home: Path, ca: Path, runs: int) -> dict[str, Result]:
    """Medians of some runs, the programs in turn."""
    results: dict[str, list[Result]] = {program: [] for program in work.programs}
    for turn in range(runs):
        for number, program in enumerate(list(results)):
            out = home / "out" / f"{WORKS.index(work)}-{number}-{turn}"
            try:
                results[program].append(run(program, work, made, base, out, ca))
            except (RuntimeError, OSError) as error:
                del results[program]
                print(f"  {program}: left out: {str(error).strip().splitlines()[-1][:100]}")
    return {
        program: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for program, found in results.items()
    }


def cut(made: dict[str, list[File]], home: Path, runs: int) -> dict[str, Result]:
    """A download that is cut at 60 % and called again: time and bytes over the wire beside one that is not cut."""
    (file,) = made["half"]
    results: dict[str, list[Result]] = {"not cut": [], "cut at 60 %": []}
    for turn in range(runs):
        for name, found in results.items():
            with RangeServer(Path(file["path"]).parents[1]) as server:
                if name != "not cut":
                    server.fault("half/*", Cut(after=int(file["size"] * 0.6)), first=1)
                work = Work(name, "half", "", "not cut", ("dataferry",))
                out = home / "out" / f"cut-{turn}-{name[:3]}"
                result = run("dataferry", work, made, server.url, out, Path())
                sent = sum(request.sent for request in server.requests if request.name.startswith("half/"))
                found.append(result | {"bytes": sent / file["size"]})
    return {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]} for name, found in results.items()
    }


def print_rows(results: dict[str, Result], reference: str) -> list[tuple[str, ...]]:
    unit = results.get(reference, {}).get("seconds", float("nan"))
    rows = []
    for program, r in sorted(results.items(), key=lambda item: item[1]["seconds"]):
        ratio, extra = f"{r['seconds'] / unit:.2f}", f"  {r['bytes']:.3f} x the bytes" if "bytes" in r else ""
        print(
            f"  {program:26s} {r['seconds']:7.2f} s  {ratio:>6} x  cpu {r['cpu']:6.2f} s  {r['memory']:5.0f} MB{extra}"
        )
        rows.append((program, f"{r['seconds']:.2f}", ratio, f"{r['cpu']:.2f}", f"{r['memory']:.0f}"))
    sys.stdout.flush()
    return rows


def main() -> None:
    """Measure and print a table for each work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--runs", type=int, default=3)
    names = [work.name for work in WORKS] + ["cut"]
    parser.add_argument("--only", action="append", choices=names, help="this work; may be repeated")
    parser.add_argument("--programs", help="only these, with commas")
    parser.add_argument("--folder", help="where all files are: one in memory leaves out what the disk does")
    parser.add_argument("--rst", type=Path, help="write the table there")
    options = parser.parse_args()
    chosen = [work for work in WORKS if work.name in (options.only or names)]
    cutting = "cut" in (options.only or names)
    kinds = {work.files for work in chosen} | ({"half"} if cutting else set())
    head = ("work", "program", "seconds", "ratio", "CPU seconds", "MB of memory", "command")
    table = [".. list-table::", "   :header-rows: 1", ""]
    table += [f"   {'*' if i == 0 else ' '} - {text}" for i, text in enumerate(head)]

    def report(name: str, results: dict[str, Result], reference: str) -> None:
        for row in print_rows(results, reference):
            cells = (name, *row, f"``{COMMAND} {name!r}``")
            table.extend(f"   {'*' if i == 0 else ' '} - {text}" for i, text in enumerate(cells))

    with tempfile.TemporaryDirectory(prefix="dataferry-bench-", dir=options.folder) as place:
        home, folder, ca = Path(place), Path(place) / "www", CertificateAuthority()
        folder.mkdir()
        made = make(folder, kinds, options.quick)
        with servers(home, folder, ca) as bases:
            for work in chosen:
                if options.programs:
                    work.programs = tuple(p for p in work.programs if p in options.programs.split(","))
                print(f"{work.name}    {COMMAND} {work.name!r}   (ratio to {work.reference})", flush=True)
                results = measure(work, made, bases[work.server], home, ca.pem, options.runs)
                report(work.name, results, work.reference)
        if cutting:
            print(f"cut    {COMMAND} cut", flush=True)
            report("cut", cut(made, home, options.runs), "not cut")
    if options.rst:
        options.rst.write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
