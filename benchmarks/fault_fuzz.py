"""Random faults against the download engine: ``python benchmarks/fault_fuzz.py [--cases 1000] [--seed 0]``.

Each case has one to three servers with random faults (status, framing, ranges, encodings, lengths, cuts, stalls,
resets), and a file that is registered with or without its size, or not at all. The oracle: the right bytes, or an error
of dataferry, within the limit of time; of an unregistered file what one of the servers has to say is right.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dataferry import testing
from dataferry.config.settings import Settings
from dataferry.download.fetch import Arrived, Wanted, fetch
from dataferry.download.source import Source
from dataferry.errors import FileUnavailable
from dataferry.testing import RangeServer

STALL, DEADLINE, GRACE = 0.4, 8.0, 4.0  # seconds
SIZES = (0, 1, 700, 20_000, 300_000, (1 << 20) - 1, (1 << 20) + 1, 1_500_000, 3_000_000, 9_000_000)


def faults(dice: random.Random, size: int) -> list[Any]:
    """One fault, or two that work together."""
    at = dice.randrange(size + 1)
    kinds = [
        testing.Reset(),
        testing.Reset(after=at),
        testing.Cut(after=at),
        testing.Cut(after=at, chunked=True),
        testing.Cut(after=size, chunked=True),
        testing.Truncated(at),
        testing.Stall(after=at),
        testing.NeverAnswers(),
        testing.Trickle(),
        testing.Garbage(),
        testing.HeaderFlood(),
        testing.Status(dice.choice([401, 403, 404, 408, 410, 416, 425, 429, 500, 502, 503])),
        testing.Status(429, retry_after=1),
        testing.Empty(),
        testing.LoginPage(),
        testing.RedirectToLogin(),
        testing.RedirectLoop(),
        testing.Flaky(times=dice.randrange(1, 3)),
        testing.IgnoresRange(),
        testing.IgnoresIfRange(),
        testing.WrongContentRange(),
        testing.OtherRange(),
        testing.OtherFile(),
        testing.FlippedByte(),
        testing.WrongLength(dice.choice([-5, -1, 1, 10, 100_000])),
        testing.WrongContentLength(dice.choice([-3, 10])),
        testing.WrongETag(dice.choice([None, 'W/"a"', '"b"'])),
        testing.ChangingETag(),
        testing.LfsPointer(),
        testing.GzipEncoding(),
    ]
    return dice.choices(kinds, k=dice.choice([1, 1, 1, 2]))


def case(seed: int) -> dict[str, Any]:
    """Run one case; its outcome in words."""
    dice = random.Random(seed)
    size = dice.choice(SIZES)
    data = random.Random(size).randbytes(size)
    registered = dice.choice(["whole", "whole", "no size", "no"])
    servers = [RangeServer({"a.bin": data}) for _ in range(dice.choice([1, 1, 2, 3]))]
    made = []
    for server in servers:
        spoilt = faults(dice, size) if dice.random() < 0.85 else []
        first = dice.choice([None, None, 1, 2])
        if spoilt:
            server.fault("*", *spoilt, first=first, skip=dice.choice([0, 0, 0, 1]))
        made.append([str(fault) for fault in spoilt] + [f"first={first}"])
    with tempfile.TemporaryDirectory() as place:
        for server in servers:
            server.start()
        began = time.monotonic()
        try:
            result: Any = bring(Path(place), data, registered, servers)
        except Exception as error:  # noqa: BLE001 - what no user should see
            result = error
        seconds = time.monotonic() - began
        words = outcome(result, data, registered)
        for server in servers:
            server.stop()
    if seconds > DEADLINE + GRACE:
        words = f"too long: {words}"
    about = {"seed": seed, "size": size, "registered": registered, "faults": made}
    return about | {
        "outcome": words,
        "seconds": round(seconds, 2),
        "text": "" if words == "right" else str(result)[:600],
    }


def bring(place: Path, data: bytes, registered: str, servers: list[RangeServer]) -> Any:
    sources = tuple(Source(server.url_of("a.bin"), server.url) for server in servers)
    size = len(data) if registered == "whole" else None
    sha256 = None if registered == "no" else hashlib.sha256(data).hexdigest()
    wanted = Wanted("a.bin", sources[0].url, size, sha256, sources)
    return fetch(
        [wanted],
        find=lambda _: None,
        store=lambda _, path: path.rename(place / "a.bin"),
        workdir=place / "incoming",
        settings=Settings(),
        stall_timeout=STALL,
        deadline=DEADLINE,
        progress=False,
    )[0]


def outcome(result: Any, data: bytes, registered: str) -> str:
    if isinstance(result, Arrived):
        right = result.path.read_bytes() == data
        return "right" if right else "another file" if registered == "no" else "WRONG BYTES"
    if isinstance(result, FileUnavailable):
        return "error " + " ".join(sorted({str(failure.kind) for failure in result.failures}))
    return f"FOREIGN {type(result).__name__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with ThreadPoolExecutor(options.threads) as pool:
        results = list(pool.map(case, range(options.seed, options.seed + options.cases)))
    if options.json:
        options.json.write_text("\n".join(map(json.dumps, results)))
    counts = collections.Counter(result["outcome"].split()[0] for result in results)
    bad = [result for result in results if result["outcome"].split()[0] not in ("right", "error", "another")]
    print(f"{len(results)} cases: " + ", ".join(f"{count} {word}" for word, count in counts.most_common()))
    for result in bad:
        print(json.dumps(result))
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
