"""A registry of 100,000 files: the first file in a fresh process, in both forms, and its memory, beside pooch.

Run with ``python benchmarks/registry.py`` in an environment with ``pip install -e '.[bench]'``. No network is used.
Linux only, where the kernel tells a process its own peak.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CODE = {
    "python": "pass",
    "dataferry, text registry": "from dataferry import PackageData; PackageData('manypkg').get({name!r})",
    "dataferry, all names": "from dataferry import PackageData; len(PackageData('manypkg').names())",
    "dataferry, TOML registry": "from dataferry import PackageData; PackageData('tomlpkg').get({name!r})",
    "tomllib alone": "import tomllib; tomllib.load(open({folder!r} + '/../tomlpkg/data/dataferry.toml', 'rb'))",
    "pooch": """
import pooch
peer = pooch.create({folder!r}, 'http://127.0.0.1:9/', registry=None)
peer.load_registry({folder!r} + '/registry.txt')
peer.fetch({name!r})
""",
}
# getrusage would report the peak of the process that started this one where that is larger
MEASURE = """
import time
start = time.perf_counter()
{code}
seconds = time.perf_counter() - start
with open("/proc/self/status") as status:
    print(seconds, next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def make(root: Path, count: int) -> str:
    """A package ``manypkg`` with one real file among many registered ones, and the same as a pooch registry."""
    data = root / "manypkg" / "data"
    data.mkdir(parents=True)
    (root / "manypkg" / "__init__.py").touch()
    digests = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)]
    names = [f"tiles/{i // 1000:03d}/tile_{i:06d}.fits" for i in range(count)]
    real = names[count * 3 // 4]
    digests[count * 3 // 4] = hashlib.sha256(b"real").hexdigest()
    (data / "dataferry.toml").write_text(f'registry = "files.txt"\n[folders]\nany = "{root}/files"\n')
    (data / "files.txt").write_text("".join(f"{d}  4  {n}\n" for d, n in zip(digests, names, strict=True)))
    toml = root / "tomlpkg" / "data"
    toml.mkdir(parents=True)
    (root / "tomlpkg" / "__init__.py").touch()
    tables = "".join(f'[files."{n}"]\nsize = 4\nsha256 = "{d}"\n' for d, n in zip(digests, names, strict=True))
    (toml / "dataferry.toml").write_text(f'[folders]\nany = "{root}/files"\n{tables}')
    file = root / "files" / real
    file.parent.mkdir(parents=True)
    file.write_bytes(b"real")
    os.utime(file, (1e9, 1e9))
    pooch_lines = "".join(f"{n} sha256:{d}\n" for d, n in zip(digests, names, strict=True))
    (root / "files" / "registry.txt").write_text(pooch_lines)
    return real


def main() -> None:
    """Measure each in fresh processes and print the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name = make(Path(folder), options.count)
        env = {**os.environ, "PYTHONPATH": folder, "XDG_CACHE_HOME": folder, "DATAFERRY_OFFLINE": "1"}
        env.pop(
            "PYTHONDONTWRITEBYTECODE", None
        )  # the bytecode of all modules is on the disk, as after any installation
        print(f"{options.count} registered files, best of {options.runs} fresh processes")
        print(f"{'':28} {'ms':>8} {'peak MB':>9}")
        for label, code in CODE.items():
            program = MEASURE.format(code=code.format(name=name, folder=f"{folder}/files"))
            runs = [
                subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
                for _ in range(options.runs)
            ]
            times, peaks = zip(*((float(x) for x in run.stdout.split()) for run in runs), strict=True)
            print(f"{label:28} {min(times) * 1e3:8.1f} {min(peaks) / 1024:9.1f}")


if __name__ == "__main__":
    main()
