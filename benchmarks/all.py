"""Every benchmark, one after the other: ``python benchmarks/all.py [--quick]``; the output names each command.

Takes about half an hour on a quiet machine with 10 GB of free disk; ``--quick`` a few minutes, for a look whether all
of them run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: What is measured, and its options for a quick look.
SCRIPTS = {
    "downloads.py": ["--quick", "--runs", "1"],
    "warm.py": ["--quick"],
    "registry.py": ["--count", "10000", "--runs", "1"],
    "cache.py": ["--count", "2000", "--runs", "1"],
    "maps.py": ["--nside", "256", "--runs", "3"],
    "plugin.py": [],
    "retrieve.py": ["--quick"],
}


def main() -> None:
    """Run them; the exit code says whether all went well."""
    failed = []
    for script, quick in SCRIPTS.items():
        options = quick if "--quick" in sys.argv[1:] else []
        print(f"\n=== python benchmarks/{' '.join([script, *options])}", flush=True)
        if subprocess.run([sys.executable, HERE / script, *options], check=False).returncode:
            failed.append(script)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
