"""``dataferry check-dist``: wheels, sdists and source trees with too much data."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import tarfile
import zipfile

import pytest
from click.testing import CliRunner

from dataferry.cli.app import dataferry as cli

MB = 1_000_000


def check(*args):
    result = CliRunner().invoke(cli, ["check-dist", *map(str, args)])
    return result.exit_code, result.output


def wheel(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, size in {"mypkg/__init__.py": 10, "mypkg-1.0.dist-info/RECORD": 10, **files}.items():
            archive.writestr(name, bytes(size))
    return path


def sdist(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, size in {"mypkg-1.0/pyproject.toml": 10, **files}.items():
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
    return path


def test_small_data_pass(tmp_path):
    small = wheel(tmp_path / "mypkg-1.0-py3-none-any.whl", {"mypkg/data/a.fits": 9 * MB, "mypkg/_c.so": 20 * MB})
    code, said = check(small, sdist(tmp_path / "mypkg-1.0.tar.gz", {"mypkg-1.0/src/mypkg/data/a.fits": 9 * MB}))
    assert code == 0 and said.count("ok ") == 2 and "9.0 MB of data in 1 files" in said


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_large_file_fails_and_the_commands_are_printed(tmp_path, kind):
    if kind == "wheel":
        dist = wheel(tmp_path / "mypkg-1.0-py3-none-any.whl", {"mypkg/data/maps/big.fits": 11 * MB})
        path = "mypkg/data/maps/big.fits"
    else:
        dist = sdist(tmp_path / "mypkg-1.0.tar.gz", {"mypkg-1.0/src/mypkg/data/maps/big.fits": 11 * MB})
        path = "src/mypkg/data/maps/big.fits"
    code, said = check(dist)
    assert code == 1 and "11.0 MB" in said and path in said and "10.0 MB allowed" in said
    assert f"dataferry add {path.partition('/data/')[0]} {path}" in said
    assert check(dist, "--max-file", "12MB")[0] == 0


def test_many_files_fail_together(tmp_path):
    dist = wheel(tmp_path / "mypkg-1.0-py3-none-any.whl", {f"mypkg/data/{n:02}.fits": 2 * MB for n in range(8)})
    code, said = check(dist, "--max-total", "15 MB")
    assert code == 1 and "16.0 MB of data in 8 files, 15.0 MB allowed" in said and "mypkg/data/07.fits" in said


def test_a_source_tree_and_its_commands(tmp_path, need):
    need("git")
    tree = tmp_path / "tree"
    (tree / "mypkg/data").mkdir(parents=True)
    (tree / "mypkg/__init__.py").touch()
    (tree / "mypkg/data/big file.fits").write_bytes(bytes(11 * MB))
    (tree / "ignored.fits").write_bytes(bytes(11 * MB))
    (tree / ".gitignore").write_text("ignored.fits\n")
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    code, said = check(tree)
    assert code == 1 and "big file.fits" in said and "ignored" not in said
    for line in said.splitlines():
        if line.startswith(("  dataferry add", "  mkdir")):
            words = shlex.split(line)
            if words[0] == "dataferry":
                before = os.getcwd()
                os.chdir(tree)
                try:
                    assert CliRunner().invoke(cli, words[1:]).exit_code == 0
                finally:
                    os.chdir(before)
            else:
                subprocess.run(line, shell=True, cwd=tree, check=True)
    assert (tmp_path / "mypkg-data/big file.fits").exists()
    assert 'files."big file.fits"' in (tree / "mypkg/data/dataferry.toml").read_text()
    assert check(tree)[0] == 0


def test_json_and_errors(tmp_path):
    dist = wheel(tmp_path / "mypkg-1.0-py3-none-any.whl", {"mypkg/data/a.fits": 100})
    code, said = check(dist, "--json", "--max-file=10")
    report = json.loads(said)
    assert code == 1 and report["ok"] is False
    assert report["checked"][0]["largest"] == [{"size": 100, "path": "mypkg/data/a.fits"}]
    (tmp_path / "no.whl").write_bytes(b"nothing")
    assert check(tmp_path / "no.whl")[0] == 2
    assert check(tmp_path / "not-there.whl")[0] == 2
    assert check(dist, "--max-file", "much")[0] == 2


def test_the_hook_of_pre_commit(repository, need, tmp_path):
    yaml = need.module("yaml")
    (hook,) = yaml.safe_load((repository / ".pre-commit-hooks.yaml").read_text())
    program, *words = shlex.split(hook["entry"])
    assert (program, words[0], hook["pass_filenames"]) == ("dataferry", "check-dist", False)
    (tmp_path / "big.fits").write_bytes(bytes(11 * MB))
    assert CliRunner().invoke(cli, [*words[:-1], str(tmp_path)]).exit_code == 1
    assert CliRunner().invoke(cli, [*words[:-1], str(repository)]).exit_code == 0


def test_what_lies_beside_the_wheels_in_dist(tmp_path):
    """`dataferry check-dist dist/*` also names signatures and attestations."""
    dist = wheel(tmp_path / "mypkg-1.0-py3-none-any.whl", {})
    (tmp_path / "mypkg-1.0-py3-none-any.whl.publish.attestation").write_bytes(bytes(5000))
    assert check(*sorted(tmp_path.iterdir()))[0] == 0
    (tmp_path / "mypkg-1.0-py3-none-any.whl.publish.attestation").write_bytes(bytes(11 * MB))
    assert check(*sorted(tmp_path.iterdir()), dist)[0] == 1


def test_a_file_that_is_removed_and_not_yet_for_git(tmp_path, need):
    need("git")
    (tmp_path / "a.fits").write_bytes(bytes(11 * MB))
    subprocess.run("git init -q && git add a.fits", shell=True, cwd=tmp_path, check=True)
    assert check(tmp_path)[0] == 1
    (tmp_path / "a.fits").unlink()
    assert check(tmp_path)[0] == 0


def test_a_long_list_of_lacking_files_is_cut(tmp_path, monkeypatch):
    data = tmp_path / "mypkg/data"
    data.mkdir(parents=True)
    (tmp_path / "mypkg/__init__.py").touch()
    (tmp_path / "pyproject.toml").touch()
    lines = []
    for number in range(15):
        (data / f"{number:02}.dat").touch()
        lines.append(f'[files."{number:02}.dat"]\nsha256 = "{"0" * 64}"\n')
    (data / "dataferry.toml").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    code, said = check(wheel(tmp_path / "mypkg-1.0-py3-none-any.whl", {}))
    assert code == 1 and said.count("missing") == 11
    assert "missing  mypkg/data/dataferry.toml" in said and "missing  6 further files" in said
