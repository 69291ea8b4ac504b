"""Git servers as fixtures: over HTTP with logins, git-lfs by giftless, and what GitHub Pages does with a push."""

from __future__ import annotations

import base64
import hmac
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from .running import Running, Starter

#: giftless declares none of its dependencies, and they are not to clash with those of the tests.
GIFTLESS = (
    "giftless==0.6.2",
    "cachetools",
    "cryptography",
    "figcan",
    "flask",
    "flask-classful",
    "flask-marshmallow",
    "pyjwt<2.10",
    "python-dateutil",
    "python-dotenv",
    "pyyaml",
    "typing-extensions",
    "waitress",
    "webargs",
)
KEY = "a-key-of-the-tests-a-key-of-the-tests"


def git(folder: Path, *words: str | os.PathLike[str], told: bytes | None = None) -> str:
    """Run git as a user would."""
    who = {f"GIT_{who}_{what}": "ann@a.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**os.environ, **who}
    done = subprocess.run(["git", *map(str, words)], cwd=folder, env=env, input=told, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def bare(path: Path, branch: str = "main") -> Path:
    """A bare repository, as servers have them."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", branch, ".")
    git(path, "config", "uploadpack.allowFilter", "true")
    git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
    return path


@dataclass
class GitHTTP:
    """A server of repositories, and the rules that it reads at each request."""

    running: Running
    rules_file: Path

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def log(self) -> str:
        return (self.running.home / "access.log").read_text()

    def rules(self, **rules: object) -> None:
        before = json.loads(self.rules_file.read_text())
        self.rules_file.write_text(json.dumps({**before, **rules}))


@pytest.fixture(scope="module")
def git_http(need: Any, running: Starter) -> Callable[..., GitHTTP]:
    """Serve the repositories ``owner/repo.git`` below a folder."""
    need("git")

    def serve(folder: Path, **rules: object) -> GitHTTP:
        script = Path(__file__).with_name("git_http.py")
        kept: list[Path] = []

        def command(port: int, home: Path) -> list[str]:
            kept[:] = [home / "rules.json"]
            (home / "access.log").touch()
            kept[0].write_text(json.dumps({"tokens": {}, **rules}))
            return [sys.executable, str(script), str(port), str(folder), str(kept[0])]

        return GitHTTP(running("git-http", command), kept[0])

    return serve


@pytest.fixture(scope="session")
def giftless_python(request: pytest.FixtureRequest, need: Any, real_environ: dict[str, str]) -> Path:
    """The Python of an environment of giftless' own, made once."""
    cache = getattr(request.config, "cache", None)
    # pip takes longer than all the tests: what one run installed is there for the next one
    home = (
        Path(tempfile.gettempdir(), f"dataferry-giftless-{os.getuid()}") if cache is None else cache.mkdir("giftless")
    )
    home.mkdir(mode=0o700, exist_ok=True)
    place = Path(home, GIFTLESS[0].replace("==", "-") + f"-py{sys.version_info[0]}{sys.version_info[1]}")
    with FileLock(f"{place}.lock"):
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            pip = [place / "bin" / "python", "-m", "pip", "install", "-q", *GIFTLESS]
            done = subprocess.run(pip, env=real_environ, capture_output=True, text=True)
            need.that("giftless", done.returncode == 0, f"it cannot be installed: {done.stderr[-300:]}")
            (place / "ready").touch()
    return place / "bin" / "python"


@pytest.fixture(scope="module")
def giftless(giftless_python: Path, running: Starter) -> Callable[..., Running]:
    """Start giftless on a folder; with ``private=True`` it wants tokens of `lfs_token`."""

    def serve(store: Path, *, private: bool = False) -> Running:
        def command(port: int, home: Path) -> list[str]:
            jwt = {"factory": "giftless.auth.jwt:factory", "options": {"algorithm": "HS256", "private_key": KEY}}
            storage = {"storage_class": "giftless.storage.local_storage:LocalStorage"}
            config = {
                "AUTH_PROVIDERS": [jwt if private else "giftless.auth.allow_anon:read_write"],
                "TRANSFER_ADAPTERS": {
                    "basic": {
                        "factory": "giftless.transfer.basic_streaming:factory",
                        "options": {**storage, "storage_options": {"path": str(store)}},
                    }
                },
                "PRE_AUTHORIZED_ACTION_PROVIDER": jwt,
                "LEGACY_ENDPOINTS": False,
            }
            (home / "giftless.yaml").write_text(json.dumps(config))  # JSON is YAML
            most = "--max-request-body-size=10737418240"
            app = "giftless.wsgi_entrypoint:app"
            return [str(giftless_python), "-m", "waitress", f"--listen=127.0.0.1:{port}", most, app]

        return running("giftless", command, env={"GIFTLESS_CONFIG_FILE": "giftless.yaml"})

    return serve


@pytest.fixture(scope="session")
def lfs_token() -> Callable[[str], str]:
    """A token of giftless for a scope, ``obj:team/data/*:read``."""

    def make(scope: str) -> str:
        head = {"alg": "HS256", "typ": "JWT"}
        claims = {"sub": "ann", "scopes": [scope], "exp": int(time.time()) + 3600}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
        digest = hmac.digest(KEY.encode(), b".".join(parts), "sha256")
        return b".".join([*parts, base64.urlsafe_b64encode(digest).rstrip(b"=")]).decode()

    return make


@pytest.fixture
def pages(need: Any) -> Callable[..., Path]:
    """Make of each push to a branch what GitHub Pages makes of it: ``pages(repository, branch, site, folder="")``.

    The site is the branch's files, through Jekyll unless there is a ``.nojekyll``; a new state replaces the old one.
    """
    need("git")

    def make(repository: Path, branch: str, site: Path, folder: str = "", *, jekyll: bool = False) -> Path:
        program = need("jekyll") if jekyll else "jekyll"
        site.mkdir(parents=True, exist_ok=True)
        hook = repository / "hooks" / "post-receive"
        hook.write_text(f"""#!/bin/sh
            set -e
            unset GIT_DIR
            new=$(mktemp -d "{site}/build.XXXXXX")
            mkdir "$new/source" && chmod 755 "$new"
            git -C "{repository}" archive "{branch}" | tar -x -C "$new/source"
            from="$new/source/{folder}"
            if [ -e "$from/.nojekyll" ]; then mv "$from" "$new/out"; else
                {program} build -q -s "$from" -d "$new/out" >&2; fi
            ln -s "$new/out" "$new/current" && mv -T "$new/current" "{site}/current"
            """)
        hook.chmod(0o755)
        return site / "current"

    return make
