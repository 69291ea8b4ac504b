"""The recipes for CI services: their commands run as they stand, in fresh checkouts, with a stand-in for the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
    import pytest

    @pytest.mark.package_data("maps/*.dat")
    def test_it(package_data):
        assert all(package_data.contents(name) for name in package_data.names())
"""


class Service:
    """Runs the commands of a recipe; what it caches outlives its checkouts."""

    def __init__(self, suite, recipe):
        self.suite, self.recipe = suite, recipe
        self.caches = suite.folder.parent / "caches"
        self.caches.mkdir()
        self.checkout = suite.folder.parent / "checkout"
        programs = suite.folder.parent / "bin"
        programs.mkdir()
        plugins = {"dataferry": "-m dataferry", "pytest": "-m pytest -p no:randomly", "python": ""}
        for name, words in plugins.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (programs / name).chmod(0o755)
        self.path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def fresh(self):
        """A machine of its own for each job: another checkout, and no cache but the service's."""
        shutil.rmtree(self.checkout, ignore_errors=True)
        shutil.copytree(self.suite.folder, self.checkout)
        shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]))
        Path(os.environ["XDG_CACHE_HOME"]).mkdir()

    def run(self, command, env):
        if "pip install" in command:
            return
        env = {**os.environ, "PATH": self.path, "PYTHONPATH": str(self.checkout), **env}
        done = subprocess.run(["bash", "-e", "-c", command], cwd=self.checkout, env=env, capture_output=True, text=True)
        assert done.returncode == 0, command + done.stdout + done.stderr

    def save(self, key):
        shutil.copytree(self.checkout / ".data/astropy", self.caches / key, symlinks=True, dirs_exist_ok=True)

    def restore(self, *keys):
        """Whether the first key was hit; each further one is a prefix."""
        newest_first = sorted(self.caches.iterdir(), key=lambda path: -path.stat().st_mtime)
        for number, key in enumerate(keys):
            found = next((p for p in newest_first if (p.name.startswith(key) if number else p.name == key)), None)
            if found is not None:
                shutil.copytree(found, self.checkout / ".data/astropy", symlinks=True)
                return number == 0
        return False


class Github(Service):
    def pipeline(self):
        said = {}

        def put_in(text):
            known = {"github.workspace": str(self.checkout), **said}
            return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: known[match[1]], text)

        for name, job in self.recipe["jobs"].items():
            self.fresh()
            for step in job["steps"]:
                if "if" in step and said.get("steps.cache.outputs.cache-hit") == "true":
                    assert step["if"] == "steps.cache.outputs.cache-hit != 'true'"
                    continue
                action, options = step.get("uses", "").partition("@")[0], step.get("with", {})
                if action == "actions/cache/restore":
                    hit = self.restore(*(put_in(options[o]) for o in ("key", "restore-keys") if o in options))
                    said["steps.cache.outputs.cache-hit"] = str(hit).lower()
                    assert name == "data" or hit
                elif action == "actions/cache/save":
                    self.save(put_in(options["key"]))
                elif "run" in step:
                    output = self.checkout / "output"
                    env = {k: put_in(v) for k, v in {**self.recipe["env"], **step.get("env", {})}.items()}
                    self.run(step["run"], {**env, "GITHUB_OUTPUT": str(output)})
                    for line in output.read_text().splitlines() if output.exists() else ():
                        key, _, value = line.partition("=")
                        said[f"steps.{step.get('id')}.outputs.{key}"] = value
                        said.setdefault(f"needs.{name}.outputs.{key}", value)


class Gitlab(Service):
    def pipeline(self):
        for stage in self.recipe["stages"]:
            job = self.recipe[stage]
            self.fresh()
            self.restore(job["cache"]["key"])
            variables = {**self.recipe["variables"], **job.get("variables", {})}
            env = {k: v.replace("$CI_PROJECT_DIR", str(self.checkout)) for k, v in variables.items()}
            for command in job["script"]:
                self.run(command, env)
            if job["cache"]["policy"] == "pull-push":
                shutil.rmtree(self.caches / job["cache"]["key"], ignore_errors=True)
                self.save(job["cache"]["key"])


class Circleci(Service):
    def pipeline(self):
        for job in (self.recipe["jobs"][name] for name in ("data", "test")):
            self.fresh()
            env = {k: v.replace("/home/circleci/project", str(self.checkout)) for k, v in job["environment"].items()}
            for step in job["steps"]:
                if step == "checkout":
                    continue
                ((kind, said),) = step.items()
                if kind == "run":
                    self.run(said, env)
                elif kind == "restore_cache":
                    self.restore(*map(self.key, said["keys"]))
                elif not (self.caches / self.key(said["key"])).exists():  # a key is written once
                    self.save(self.key(said["key"]))

    def key(self, text):
        return text.replace('{{ checksum "data.key" }}', (self.checkout / "data.key").read_text().strip())


NIGHTLY = [pytest.param(kind, marks=pytest.mark.nightly) for kind in (Gitlab, Circleci)]


@pytest.mark.parametrize("kind", [Github, *NIGHTLY])
def test_recipe(kind, suite, need, repository):
    yaml = need.module("yaml")
    need("bash")
    service = kind(suite, yaml.safe_load((repository / f"docs/ci/{kind.__name__.lower()}.yml").read_text()))
    suite.write("test_it.py", TESTS)

    def requests():
        suite.server.forget()
        service.pipeline()
        return sorted(request.name for request in suite.server.requests)

    assert requests() == sorted(suite.files)  # one job writes, the others read
    assert requests() == []
    more = {**suite.files, "maps/e.dat": b"new"}
    suite.serve(more)
    suite.declare(more)
    assert requests() == ["maps/e.dat"]  # the rest is restored
