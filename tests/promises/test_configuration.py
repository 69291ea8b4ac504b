"""The user's config.toml: what it says of packages, and mistakes in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataferry import PackageData, SettingsError


def config(home: Path, text: str | bytes) -> Path:
    path = home / ".config/dataferry/config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_misspelt_package_is_named(make_package, home):
    package = make_package(bundled={"a.txt": b"a"})
    misspelt = package.replace("made_", "maed_")
    path = config(home, f"[packages.{misspelt}]\nmirrors = 'https://near.example/'\n")
    with pytest.raises(SettingsError, match=rf"no package '{misspelt}'.*is it '{package}'\?") as caught:
        PackageData(package).get("a.txt")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("other", ["another_package_altogether", "{}3", "os"])
def test_packages_of_other_environments_are_no_mistake(make_package, home, other):
    package = make_package(bundled={"a.txt": b"a"})
    config(home, f"[packages.{other.format(package)}]\nmirrors = 'https://near.example/'\n")
    assert PackageData(package).contents("a.txt") == b"a"


def test_a_byte_order_mark_and_deep_nesting(make_package, home):
    package = make_package(bundled={"a.txt": b"a"})
    config(home, b"\xef\xbb\xbfoffline = true\n")
    assert PackageData(package).contents("a.txt") == b"a"
    config(home, f"folders = {'[' * 2000}{']' * 2000}")
    with pytest.raises(SettingsError, match="not valid TOML"):
        PackageData(package).get("a.txt")


def test_the_order_of_hosts_is_the_declared_one(make_package, home):
    """Throughput decides while a file is downloaded, and no setting is needed for it."""
    config(home, 'order = "speed"\n')
    with pytest.raises(SettingsError, match="unknown key order"):
        PackageData(make_package(bundled={"a.txt": b"a"})).get("a.txt")


FORK = """
import os, signal, sys, threading
from dataferry import PackageData

data = PackageData(sys.argv[1], show_progress=False)
data.get("a.txt")  # all imports are done: a fork within an import hangs by Python's own module lock
began = threading.Event()

def read():
    began.set()
    while True:
        PackageData(sys.argv[1]).names()
        data.__setstate__(data.__getstate__())  # reads the registry once more
        data.names()

threading.Thread(target=read, daemon=True).start()
began.wait()
for _ in range(20):
    if os.fork() == 0:
        signal.alarm(20)
        os._exit(0 if len(data.names()) == 2001 and data.get("a.txt") else 3)
    if code := os.waitstatus_to_exitcode(os.wait()[1]):
        os._exit(code if code > 0 else 4)
os._exit(0)
"""


def test_a_fork_while_another_thread_reads_the_registry(make_package):
    files = {f"{i}.bin": b"" for i in range(2000)}
    package = make_package(files, {"a.txt": b"a"})
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", FORK, package], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_site_that_the_user_names(make_package, home, tmp_path):
    (tmp_path / "near").mkdir()
    (tmp_path / "near/a.txt").write_bytes(b"a")
    package = make_package({"a.txt": b"a"}, head=f"[folders]\nfar = '/far'\nnear = '{tmp_path}/near'\n")
    config(home, 'site = "near"\n')
    steps = [step.origin for step in PackageData(package).where("a.txt").steps if step.kind == "folder"]
    assert steps == ["dataferry.toml, near", "dataferry.toml, far"]
