"""dataferry's transport beside others, on loopback: ``python benchmarks/transport.py [--quick] [--only W] [--rst F]``.

Needs nginx; curl, aria2c, requests, pooch, parfive and astropy are measured where they are installed. Every engine ends
with files on disk whose sha256 was checked. The engines take turns, so that a busy machine is busy for all of them.
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
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
LINK = HERE.parent / "tests" / "servers" / "delay_link.py"
ALL = ("limit", "dataferry", "requests", "curl", "astropy", "pooch", "parfive", "aria2c")


@dataclass
class Work:
    name: str
    files: str
    server: str
    reference: str
    engines: dict[str, int] = field(default_factory=dict)  # engine -> runs
    connections: int | None = None
    few: tuple[str, ...] = ()  # engines that get a tenth of the files, scaled


def works(runs: int) -> list[Work]:
    once = dict.fromkeys(ALL, 1)
    often = lambda *names: once | dict.fromkeys(names, runs)  # noqa: E731
    web = {name: n for name, n in often("dataferry", "curl", "aria2c").items() if name != "limit"}
    slow = ("astropy", "pooch", "requests", "parfive")
    return [
        Work("one large file", "large", "plain", "limit", often("limit", "dataferry", "requests", "curl")),
        Work("20 MB/s a connection", "medium", "limited", "curl", web | {"curl": 1, "aria2c": 1}),
        Work("20 MB/s a connection, 40 ms", "medium", "limited far", "curl", web | {"curl": 1, "aria2c": 1}),
        Work("small files", "small", "plain", "curl", often("limit", "dataferry", "curl", "requests", "astropy")),
        Work("small files, 40 ms", "small", "far", "curl", web, few=slow),
        Work("small files, 40 ms, 64 connections", "small", "far", "curl", {"dataferry": runs}, connections=64),
        Work("50 files of 10 MB", "mid", "plain", "limit", often("limit", "dataferry", "curl", "requests")),
    ]


def make(folder: Path, quick: bool) -> dict[str, list[dict[str, object]]]:
    plan = {
        "large": (1, 200_000_000 if quick else 2_000_000_000),
        "medium": (1, 256_000_000),
        "small": (200 if quick else 2000, 20_000),
        "mid": (5 if quick else 50, 10_000_000),
    }
    made: dict[str, list[dict[str, object]]] = {}
    for kind, (count, size) in plan.items():
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
            made[kind].append({"path": str(path), "name": f"{kind}/{path.name}", "flat": path.name, "size": size})
            made[kind][-1]["sha256"] = digest.hexdigest()
    return made


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def servers(home: Path, folder: Path) -> Iterator[dict[str, int]]:
    """nginx without and with a limit for each connection, and a link of 40 ms to both."""
    ports = {name: free_port() for name in ("plain", "limited", "far", "limited far")}
    for part in (home, folder):
        part.chmod(0o755)
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"""daemon off; worker_processes 2; pid {home}/pid; error_log {home}/error.log;
        events {{ worker_connections 1024; }}
        http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; root {folder}; {temporary}
        server {{ listen 127.0.0.1:{ports["plain"]} backlog=1024; }}
        server {{ listen 127.0.0.1:{ports["limited"]} backlog=1024; limit_rate 20m; }} }}"""
    )
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is None:
        raise SystemExit("nginx is not installed")
    commands = [[nginx, "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]]
    for far, near in (("far", "plain"), ("limited far", "limited")):
        commands.append([sys.executable, str(LINK), str(ports[far]), "127.0.0.1", str(ports[near]), "0.04"])
    started = [subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True) for words in commands]
    try:
        for port in ports.values():
            for _ in range(100):
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.05)
        yield ports
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def run(engine: str, work: Work, files: list[dict[str, object]], port: int, out: Path) -> dict[str, float]:
    base = f"http://127.0.0.1:{port}/"
    part = files[: len(files) // 10] if engine in work.few else files
    asked = {
        "base": base,
        "host": f"127.0.0.1:{port}",
        "files": [item | {"url": base + str(item["name"])} for item in part],
        "out": str(out),
        "connections": work.connections,
        "remove": len(files) < 100,  # what was removed a moment ago makes new small files slow on ext4
    }
    words = [sys.executable, str(HERE / "transport_engines.py"), engine]
    done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-400:] or done.stdout)
    result = {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}
    scale = len(files) / len(part)
    return {"seconds": result["seconds"] * scale, "cpu": result["cpu"] * scale, "memory": result["memory"]}


def measure(work: Work, files: list[dict[str, object]], port: int, home: Path) -> dict[str, dict[str, float]]:
    seen: dict[str, list[dict[str, float]]] = {}
    for turn in range(max(work.engines.values())):
        for engine, runs in work.engines.items():
            if turn >= runs or (turn and engine not in seen):
                continue
            out = home / "out" / f"{work.name.replace(' ', '-').replace('/', '')}-{engine}-{turn}"
            try:
                seen.setdefault(engine, []).append(run(engine, work, files, port, out))
            except (RuntimeError, OSError) as error:
                seen.pop(engine, None)
                print(f"  {engine}: left out: {str(error).strip().splitlines()[-1][:100]}")
    return {
        engine: {key: statistics.median(one[key] for one in results) for key in results[0]}
        for engine, results in seen.items()
    }


def table(rows: list[tuple[Work, dict[str, dict[str, float]]]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    head = ("work", "engine", "seconds", "ratio", "processor seconds", "MB of memory")
    lines += [f"   {'*' if i == 0 else ' '} - {text}" for i, text in enumerate(head)]
    reference: dict[str, float] = {}
    for work, results in rows:
        if work.reference in results:
            reference[work.files + work.server] = results[work.reference]["seconds"]
        unit = reference.get(work.files + work.server, float("nan"))
        for engine, r in sorted(results.items(), key=lambda item: item[1]["seconds"]):
            name = {"limit": "copy and sha256", "dataferry": "**dataferry**"}.get(engine, engine)
            cells = (work.name, name, f"{r['seconds']:.2f}", f"{r['seconds'] / unit:.2f}", f"{r['cpu']:.2f}")
            lines += [f"   {'*' if i == 0 else ' '} - {c}" for i, c in enumerate((*cells, f"{r['memory']:.0f}"))]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less data, one run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="works whose name holds this")
    parser.add_argument("--engines", default=",".join(ALL))
    parser.add_argument("--rst", type=Path, help="write the table there")
    options = parser.parse_args()
    rows: list[tuple[Work, dict[str, dict[str, float]]]] = []
    with tempfile.TemporaryDirectory(prefix="dataferry-bench-") as place:
        home, folder = Path(place), Path(place) / "www"
        folder.mkdir()
        made = make(folder, options.quick)
        with servers(home, folder) as ports:
            for work in works(1 if options.quick else options.runs):
                if options.only not in work.name:
                    continue
                chosen = options.engines.split(",")
                work.engines = {name: n for name, n in work.engines.items() if name in chosen}
                print(work.name, flush=True)
                results = measure(work, made[work.files], ports[work.server], home)
                rows.append((work, results))
                for engine, r in sorted(results.items(), key=lambda item: item[1]["seconds"]):
                    print(
                        f"  {engine:10s} {r['seconds']:7.2f} s  cpu {r['cpu']:6.2f} s  {r['memory']:5.0f} MB",
                        flush=True,
                    )
    lines = table(rows)
    if options.rst:
        options.rst.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
