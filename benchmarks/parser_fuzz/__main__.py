"""Random input for every parser: ``python benchmarks/parser_fuzz [--cases 10000] [--seed 0] [NAME ...]``.

Each parser gets valid input with a few random changes: other values, lines twice, missing, torn or nested thousands of
times, numbers of thousands of digits, control characters, other encodings, bytes that are wrong, an end too early. The
oracle: a result or an error of dataferry, within two seconds and 600 MB above what the process had before. A parser
runs in a process of its own; printed are the cases, the outcomes, the seconds and the peak of its memory.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import answers
import declared
import files
import kept
from damage import Dice

from dataferry.errors import DataferryError

SECONDS, MEMORY = 2.0, 600 << 20

PARSERS: dict[str, Callable[[Dice, Path], None]] = {
    "dataferry.toml": declared.registry_toml,
    "dataferry.toml, edited": declared.registry_editor,
    "text registry": declared.registry_text,
    "files in Python": declared.registry_in_python,
    "checksum lists": declared.checksum_lists,
    "catalogs": declared.catalogs,
    "config.toml": declared.config,
    "netrc": declared.netrc,
    "HTTP headers": answers.http_headers,
    "API answers": answers.api_answers,
    "declarations of hosts": declared.host_lines,
    "citations": declared.citations,
    "variables": declared.variables,
    "URLs and patterns": declared.typed,
    "answers to publishers": answers.to_publishers,
    "answers of S3": answers.store_answers,
    "listings of fsspec": answers.listings,
    "journals": kept.journals,
    "stamps": kept.stamps,
    "cache entries": kept.cache_entries,
    "checkpoints of uploads": kept.checkpoints,
    "archives": files.archive_files,
    "wheels and sdists": files.distributions,
    "FITS files": files.fits_files,
    "HDF5 files": files.hdf5_files,
}

# -- the run -----------------------------------------------------------------------------------------------------------


class TooLong(BaseException):
    """A case that does not come to an end; no handler of a parser catches it."""


def stop(number: int, frame: FrameType | None) -> None:
    raise TooLong


@contextlib.contextmanager
def limited() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)  # of the processor, whatever else the machine does
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def outcome(parser: Callable[[Dice, Path], None], seed: str, folder: Path) -> str:
    folder.mkdir()
    try:
        with limited():
            parser(random.Random(seed), folder)
    except DataferryError as error:
        try:
            str(error).encode()
        except Exception as odd:  # noqa: BLE001 - an error that cannot be printed
            return f"CANNOT BE PRINTED {type(odd).__name__}"
        return "error"
    except files.Stuck:
        return "stuck in a library"
    except (Exception, TooLong) as error:  # noqa: BLE001 - what no user should see
        where = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in where if "/dataferry/" in frame.filename] or where
        return f"FOREIGN {type(error).__name__} at {ours[-1].filename}:{ours[-1].lineno}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return "result"


def run(name: str, seed: int, cases: int) -> bool:
    """Whether all cases of a parser came out well."""
    logging.disable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGVTALRM, stop)
    parser, counts, bad = PARSERS[name], collections.Counter[str](), collections.Counter[str]()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home:
        os.environ |= {"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home, "DATAFERRY_REQUIRE": ""}
        outcome(parser, f"{name}:first", Path(home, "case"))  # what is imported and kept
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
        began, used = time.monotonic(), time.process_time()
        for number in range(seed, seed + cases):
            word = outcome(parser, f"{name}:{number}", Path(home, "case"))
            counts[word.split()[0]] += 1
            if word not in ("result", "error", "stuck in a library"):
                bad[word] += 1
                if bad[word] == 1:
                    print(f"  seed {number}: {word}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    said = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    spent = f"{time.process_time() - used:.0f} s of CPU, {time.monotonic() - began:.0f} s"
    print(f"{name:22} {cases} cases: {said}; {spent}; at most {peak} MB", flush=True)
    for word, count in bad.most_common():
        print(f"  {count} x {word}", flush=True)
    return not bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(PARSERS)}")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; a case is repeated with its seed")
    options = parser.parse_args()
    names = options.names or list(PARSERS)
    if unknown := set(names) - set(PARSERS):
        parser.error(f"there is no {', '.join(unknown)}")
    if len(names) == 1:
        raise SystemExit(not run(names[0], options.seed, options.cases))
    words = [sys.executable, os.path.dirname(__file__), "--cases", str(options.cases), "--seed", str(options.seed)]
    failed = [name for name in names if subprocess.run([*words, name], check=False).returncode]
    raise SystemExit(", ".join(failed) or None)


if __name__ == "__main__":
    main()
