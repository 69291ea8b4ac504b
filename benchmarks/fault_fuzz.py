"""Random faults against the download engine: ``python benchmarks/fault_fuzz.py [--cases 1000] [--seed 0]``.

Each case has one to three servers with random faults (status, framing, ranges, encodings, lengths, cuts, stalls,
resets, slow or malformed heads and tails), and one file or several that are registered with or without their size, or
not at all. After a failure a part of the cases goes on with the same partial files at healthy servers. The oracle: the
right bytes, or an error of dataferry, within the limit of time; of an unregistered file what one of the servers has to
say under its name is right; what healthy servers say arrives.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dataferry import testing
from dataferry.config.settings import Settings
from dataferry.download.fetch import fetch
from dataferry.download.source import Arrived, Source, Wanted
from dataferry.errors import FileUnavailable
from dataferry.files import put_content
from dataferry.testing import RangeServer
from dataferry.testing.content import Request, Response

STALL, DEADLINE, GRACE = 0.4, 8.0, 4.0  # seconds
SIZES = (0, 1, 700, 20_000, 300_000, (1 << 20) - 1, (1 << 20) + 1, 1_500_000, 3_000_000, 9_000_000)
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
STATUS = (401, 403, 404, 408, 410, 416, 425, 429, 500, 502, 503)

#: what may stand before a good head, in place of its status line, or as one more header
BEFORE = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3,
    b"HTTP/1.1 102 Processing\r\n\r\n" * 300,
    b"\r\n",
    b"\n\n",
    b"\0" * 10,
)
STATUS_LINES = (
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 200",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1 200 \x1b]52;c;eA==\x07",
    b"HTTP/1.1 200 " + b"x" * 100_000,
    b"HTTP/1.1 299 Odd",
    b"HTTP/1.1 206 Partial Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 999 Odd",
    b"HTTP/1.1 -20 OK",
    b"HTTP/3.7 200 OK",
    b"HTTP/2 200",
    b"ICY 200 OK",
    b"http/1.1 200 ok",
)
HEADERS = (
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: +7",
    b"Content-Length: 0x10",
    b"Content-Length: 99999999999999999999999999",
    b"Content-Length: 3, 3",
    b"Content-Length: " + b"9" * 5000,
    b"Content-Range: bytes 0-" + b"9" * 5000 + b"/*",
    b"Retry-After: " + b"9" * 5000,
    b"Content-Encoding: none",
    b"Content-Encoding: utf-8",
    b"Content-Encoding: gzip",
    b"Content-Encoding: br, gzip",
    b"Content-Type: text/html",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Content-Range: bytes 0-5/6",
    b"Content-Range: bytes */*",
    b"Content-Range: nonsense",
    b"Location: http://127.0.0.1:9/",
    b"Retry-After: soon",
    b"Retry-After: 99999999999",
    b"Connection: close",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"no colon here",
    b" folded: header",
    b": no name",
    b"\xff\xfe: \xe9\xe8",
    b"ETag: unquoted",
    b"Last-Modified: yesterday",
    b"Set-Cookie: a=b; Domain=example.org",
)


@dataclass(frozen=True)
class Raw(testing.Fault):
    """The right answer with something odd in its head, its framing or behind it, fast or slow."""

    before: bytes = b""
    status: bytes = b""
    header: bytes = b""
    newline: bytes = b"\r\n"
    chunks: str = ""
    behind: bytes = b""
    rate: float | None = None
    ending: Literal["keep", "close", "reset", "stall"] = "keep"

    def response(self, response: Response, request: Request) -> Response:
        body = b"".join(response.pieces)
        lines = [self.status or b"HTTP/1.1 %d Fine" % response.status]
        kept = response.without("Content-Length") if self.chunks else response
        lines += [f"{name}: {value}".encode("latin-1") for name, value in kept.headers.items()]
        lines += [self.header] if self.header else []
        if self.chunks:
            lines.append(b"Transfer-Encoding: chunked")
            body = chunked(body, self.chunks)
        raw = self.before + self.newline.join([*lines, b"", b""]) + body + self.behind
        return replace(response, head=b"", pieces=[raw], chunked=False, rate=self.rate, ending=self.ending)


CHUNK_SIZES = {"extension": b"%x;a=b;c", "zeros": b"%020x", "blank": b"%x ", "word": b"%xg", "minus": b"-%x"}
CHUNK_ENDS = {"no line ends": b"", "bare": b"\n"}
TRAILERS = {
    "no end": b"",
    "short end": b"0\r\n",
    "trailers": b"0\r\nX-A: b\r\nContent-Length: 3\r\n\r\n",
    "many trailers": b"0\r\n" + b"X-A: b\r\n" * 3000 + b"\r\n",
}
FRAMINGS = ("good", *CHUNK_SIZES, *CHUNK_ENDS, *TRAILERS)


def chunked(body: bytes, how: str) -> bytes:
    """The body in two chunks, with something odd about them."""
    half = len(body) // 2
    parts = [part for part in (body[:half], body[half:]) if part]
    size, end = CHUNK_SIZES.get(how, b"%x"), CHUNK_ENDS.get(how, b"\r\n")
    return b"".join(size % len(part) + b"\r\n" + part + end for part in parts) + TRAILERS.get(how, b"0\r\n\r\n")


def raw(dice: random.Random) -> Raw:
    """One oddity or two, at any speed, with any end."""
    odd: dict[str, Callable[[], Any]] = {
        "before": lambda: dice.choice(BEFORE),
        "status": lambda: dice.choice(STATUS_LINES),
        "header": lambda: dice.choice(HEADERS),
        "newline": lambda: dice.choice([b"\n", b"\r", b"\n\r"]),
        "chunks": lambda: dice.choice(FRAMINGS),
        "behind": lambda: dice.choice([POISON, b"more", b"\0" * 70_000]),
        "rate": lambda: dice.choice([20, 300, 3_000, 100_000]),
        "ending": lambda: dice.choice(["close", "reset", "stall"]),
    }
    return Raw(**{name: odd[name]() for name in dice.sample(sorted(odd), k=dice.choice([1, 1, 2, 3]))})


def faults(dice: random.Random, size: int) -> list[testing.Fault]:
    """One fault, or two that work together."""
    if dice.random() < 0.3:
        return [raw(dice)]
    at = dice.randrange(size + 1)
    kinds = [
        testing.Reset(),
        testing.Reset(after=None),
        testing.Reset(after=at),
        testing.Cut(after=None),
        testing.Cut(after=at),
        testing.Cut(after=at, chunked=True),
        testing.Cut(after=size, chunked=True),
        testing.Truncated(at),
        testing.Stall(after=at),
        testing.NeverAnswers(),
        testing.Trickle(dice.choice([10, 1_000])),
        testing.Garbage(),
        testing.HeaderFlood(*dice.choice([(10_000, 100), (3, 200_000), (90, 10)])),
        testing.Status(dice.choice(STATUS)),
        testing.Status(429, retry_after=1, as_date=dice.random() < 0.5),
        testing.Status(dice.choice(STATUS), body=b"\x1b[31m" * 100_000),
        testing.Empty(dice.choice([200, 202])),
        testing.LoginPage(),
        testing.RedirectToLogin(),
        testing.RedirectLoop(growing=dice.random() < 0.5),
        testing.Flaky(dice.randrange(1, 3), dice.choice([testing.Status(503), testing.Cut(at), testing.Reset(at)])),
        testing.IgnoresRange(),
        testing.IgnoresIfRange(),
        testing.WrongContentRange(dice.choice([0, 512, -512]), dice.choice([0, 10]), dice.random() < 0.2),
        testing.OtherRange(),
        testing.OtherFile(),
        testing.FlippedByte(at),
        testing.WrongLength(dice.choice([-5, -1, 1, 10, 100_000])),
        testing.WrongContentLength(dice.choice([-3, 10])),
        testing.WrongETag(dice.choice([None, 'W/"a"', '"b"'])),
        testing.ChangingETag(),
        testing.LfsPointer(),
        *(testing.GzipEncoding(how) for how in ("on-the-fly", "stored", "label")),
    ]
    return dice.choices(kinds, k=dice.choice([1, 1, 1, 2]))


def case(seed: int) -> dict[str, Any]:
    """Run one case; its outcome in words."""
    dice = random.Random(seed)
    size = dice.choice(SIZES)
    files = {"a.bin": random.Random(size).randbytes(size)}
    if dice.random() < 0.25:
        files |= {f"{number}.bin": random.Random(-number).randbytes(dice.choice(SIZES[:5])) for number in range(1, 6)}
    registered = dice.choice(["whole", "whole", "no size", "no"])
    servers = [RangeServer(files) for _ in range(dice.choice([1, 1, 2, 3]))]
    spoilt = []
    for server in servers:
        chosen = faults(dice, size) if dice.random() < 0.85 else []
        first = dice.choice([None, None, 1, 2])
        if chosen:
            server.fault("*", *chosen, first=first, skip=dice.choice([0, 0, 0, 1]))
        spoilt.append([str(fault)[:200] for fault in chosen] + [f"first={first}"])
    again = dice.random() < 0.3
    with tempfile.TemporaryDirectory() as folder:
        for server in servers:
            server.start()
        outcomes, texts, seconds = attempt(Path(folder), files, registered, servers)
        if again and all(word.startswith("error") for word in outcomes):
            for server in servers:
                server.heal()
            outcomes, texts, more = attempt(Path(folder), files, registered, servers)
            # nobody can tell two answers with one ETag apart, unless a hash does
            good = {"right", "another file"} if registered == "no" and "ETag" not in str(spoilt) else {"right"}
            outcomes = [word if word in good else f"NOT HEALED: {word}" for word in outcomes]
            seconds = max(seconds, more)
        for server in servers:
            server.stop()
    if seconds > DEADLINE + GRACE:
        outcomes.append("TOO LONG")
    worst = min(outcomes, key=lambda word: (not word.isupper() and not word[:3].isupper(), word == "right"))
    return {
        "seed": seed,
        "sizes": [len(data) for data in files.values()],
        "registered": registered,
        "faults": spoilt,
        "outcome": worst,
        "seconds": round(seconds, 2),
        "texts": texts,
    }


def attempt(
    folder: Path, files: dict[str, bytes], registered: str, servers: list[RangeServer]
) -> tuple[list[str], list[str], float]:
    """The outcome of each file, what was said, and how long it took."""
    began = time.monotonic()
    try:
        results: list[Any] = list(download(folder, files, registered, servers))
    except Exception as error:  # noqa: BLE001 - what no user should see
        results = [error]
    seconds = time.monotonic() - began
    outcomes = [outcome(result, files, registered) for result in results]
    return outcomes, [str(result)[:600] for result in results if not isinstance(result, Arrived)], seconds


def download(folder: Path, files: dict[str, bytes], registered: str, servers: list[RangeServer]) -> Any:
    wanted = []
    for name, data in files.items():
        sources = tuple(Source(server.url_of(name), server.url) for server in servers)
        size = len(data) if registered == "whole" else None
        sha256 = None if registered == "no" else hashlib.sha256(data).hexdigest()
        wanted.append(Wanted(name, sources[0].url, size, sha256, sources))
    return fetch(
        wanted,
        find=lambda _: None,
        store=lambda wanted, content: put_content(content, folder / wanted.name),
        workdir=folder / "incoming",
        settings=Settings(timeout=STALL),
        deadline=DEADLINE,
        progress=False,
    )


def outcome(result: Any, files: dict[str, bytes], registered: str) -> str:
    if isinstance(result, Arrived):
        data = result.path.read_bytes()
        if data == files[result.path.name]:
            return "right"
        if registered != "no":
            return "WRONG BYTES"
        return "SHIFTED" if data and (data == b"poison" or data in files.values()) else "another file"
    if isinstance(result, FileUnavailable):
        return "error " + " ".join(sorted({str(failure.kind) for failure in result.failures}))
    return f"FOREIGN {type(result).__name__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; a case is repeated with its seed")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--json", type=Path, default=Path(os.devnull), help="write each case")
    options = parser.parse_args()
    counts, bad = collections.Counter[str](), 0
    with ThreadPoolExecutor(options.threads) as pool, options.json.open("w") as file:
        for result in pool.map(case, range(options.seed, options.seed + options.cases)):
            word = result["outcome"].split()[0]
            counts[word] += 1
            file.write(json.dumps(result) + "\n")
            if word not in ("right", "error", "another"):
                bad += 1
                print(json.dumps(result), flush=True)
            if not counts.total() % 5000:
                print(f"{counts.total()} cases so far", flush=True)
    print(f"{counts.total()} cases: " + ", ".join(f"{count} {word}" for word, count in counts.most_common()))
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
