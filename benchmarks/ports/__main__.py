"""Port released packages to dataferry, and compare: ``python benchmarks/ports [NAME...]``.

Each package comes from the index into two scratch environments. One stays as released, in the other the edits of
``packages/NAME.py`` follow ``docs/migrate.rst``. The data are stand-ins on a server of this machine, so some tests of
a package fail before and after. Needs uv and the package index.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

from environment import Environment, medians, source_archive
from port import Port

from dataferry.testing import RangeServer

NAMES = sorted(path.stem for path in (Path(__file__).parent / "packages").glob("[a-z]*.py"))
HEADS = ("package", "patch", "files", "tests before", "tests after", "import CPU", "first get CPU", "first get")


def measure(port: Port, root: Path, runs: int) -> tuple[list[str], bool]:
    """The row of the table, and whether the same tests fail before and after."""
    source = source_archive(port.requirement, root / "source")
    before = Environment.create(root / "before", port, with_dataferry=False)
    after = Environment.create(root / "after", port, with_dataferry=True)
    files: dict[str, bytes] = {}
    with RangeServer(files) as server:
        tree = after.tree()
        files.update(port.stand_in(before.tree(), server.url))
        port.stand_in(tree, server.url)
        for command in port.commands:
            after.dataferry(*(word.replace("{url}", server.url) for word in command))
        tree.keep_as_released()
        port.port(tree, server.url)
        (root / "port.patch").write_text("\n".join(tree.patch()) + "\n", encoding="utf-8")
        passed, failed = before.tests(source)
        passed_after, failed_after = after.tests(source)
        first, second = medians([before, after], runs)
    for name in sorted(failed ^ failed_after):
        print(f"  {'no longer fails' if name in failed else 'fails now'}: {name}", file=sys.stderr)
    added, removed = tree.size()
    times = [f"{a * 1e3:.0f} -> {b * 1e3:.0f} ms" for a, b in zip(first, second, strict=True)]
    tests = [f"{passed} + {len(failed)} fail", f"{passed_after} + {len(failed_after)} fail"]
    return [port.title, f"+{added} -{removed}", str(len(files)), *tests, *times], failed == failed_after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--runs", type=int, default=7, help="of which the median is printed; 7 by default")
    parser.add_argument("--keep", type=Path, help="keep environments, patches and the output of the tests here")
    options = parser.parse_args()
    rows, same = [HEADS], True
    for name in options.names or NAMES:
        if name not in NAMES:
            parser.error(f"{name} is none of {', '.join(NAMES)}")
        port: Port = importlib.import_module(f"packages.{name}").PORT
        with tempfile.TemporaryDirectory() as scratch:
            root = options.keep / name if options.keep else Path(scratch) / name
            if root.exists():
                shutil.rmtree(root)
            row, unchanged = measure(port, root, options.runs)
            rows.append(tuple(row))
            same = same and unchanged
            print(" | ".join(row), file=sys.stderr, flush=True)
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.exit(None if same else "not the same tests fail before and after")


if __name__ == "__main__":
    main()
