"""The git command line: its environment, a token that is written nowhere, its errors; and one branch of a remote.

Commits are made without a work tree: ``git add`` would read and copy data files once more, and a merge in the folder
that a web server publishes would show files that are half written.
"""

from __future__ import annotations

import base64
import os
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote, urlsplit

from ..config.settings import Settings
from ..download.origin import client_certificate, host_option
from ..errors import AccessDenied, PublishError
from ..registry.names import redact_url
from .api_client import TO_CHANGE

if TYPE_CHECKING:
    from ..config.credentials import Token

#: Seconds before another try; doubled each time.
FIRST_WAIT = 1.0
_TRIES = 4
#: The same where no answer came, for which git waited for a whole timeout already.
_TRIES_IN_SILENCE = 2
#: A push that lost a race is tried again so many times.
_ROUNDS = 30
#: The variable that only git's own credential helper reads, in the environment of git alone.
_SECRET = "DATAFERRY_GIT_TOKEN"  # noqa: S105 - the name of a variable
_HELPER = (
    f"""!f() {{ test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$DATAFERRY_GIT_USER" "${_SECRET}"; }}; f"""
)
_CONFIG = {
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.lowSpeedLimit": "10",
    # by default git-lfs asks a silent server more than fifty times
    "lfs.transfer.maxretries": "1",
}
#: What would send git somewhere else, or make it print headers.
_STRAY = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|NAMESPACE|PREFIX|TRACE.*|CURL_VERBOSE|LFS_SKIP_SMUDGE|LFS_SKIP_PUSH)"
)
_DENIED = re.compile(
    r"Authentication failed|could not read (Username|Password)|terminal prompts disabled|returned error: 40[13]\b"
    r"|Permission to \S+ denied|Permission denied \(|Write access to repository not granted|Repository not found"
    r"|repository '[^']*' not found|returned error: 404\b|does not appear to be a git repository"
    r"|HTTP Basic: Access denied",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"Could not resolve host|Failed to connect|Connection (reset|refused|timed out)|timed out|early EOF"
    r"|hung up unexpectedly|unexpected disconnect|RPC failed|Recv failure|Send failure|Empty reply|GnuTLS recv error"
    r"|returned error: (429|5\d\d)\b|transfer closed|Operation too slow|: EOF$",
    re.IGNORECASE | re.MULTILINE,
)
_SILENT = re.compile(r"timed out|Operation too slow", re.IGNORECASE)
_LOST = re.compile(
    r"fetch first|non-fast-forward|stale info|cannot lock ref|failed to update ref|reference already exists",
    re.IGNORECASE,
)
#: Why a server took no push: GitHub's codes, and words of others.
_REFUSED = {
    "[Pp]rotected|GH006|GH013": (
        "the branch is protected: let this user push to it in the repository's rules, or publish to another"
    ),
    "GH001|Large files": (
        "files over 100 MiB do not go into a git repository: publish them to a release or another host"
    ),
}


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left; ``errors`` is its standard error without any secret."""

    status: int
    out: bytes
    errors: str

    @property
    def text(self) -> str:
        """What it printed, as text without the last line's end."""
        return self.out.decode(errors="replace").rstrip("\n")

    @property
    def reason(self) -> str:
        """The lines in which git names why it stopped."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith(("hint:", "Total ", "To ", "warning: filtering"))]
        telling = [line for line in lines if re.match(r"(fatal|error|remote|batch response|ssh):", line)]
        return "; ".join(dict.fromkeys(telling or lines))[:800] or f"git ended with status {self.status}"


class Git:
    """Runs git in one folder; the token goes to the host of `remote` alone, and `place` is the host in errors.

    Raises `PublishError` if git, or git-lfs where that is needed, is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        place: str,
        *,
        settings: Settings | None = None,
        remote: str = "",
        token: Token | None = None,
        user: str = "x-access-token",
        remedy: str = "",
        lfs: bool = False,
        config: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = Path(folder)
        self.place = place
        self.remedy = remedy
        #: Open files that every git inherits: a lock then lasts as long as any of them, however this process ends.
        self.inherited: list[int] = []
        for program in ("git", "git-lfs") if lfs else ("git",):
            if shutil.which(program) is None:
                install = f"install it: apt install {program}, or conda install {program}"
                raise PublishError(place, f"this needs {program}, which is not installed", install)
        self._secrets: list[str] = []
        self._env = {name: value for name, value in os.environ.items() if not _STRAY.fullmatch(name)}
        self._env |= {"LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0"}
        self._timeout = max(1, round(settings.timeout if settings is not None else Settings().timeout))
        ssh = f"ssh -o BatchMode=yes -o ConnectTimeout={self._timeout} -o ServerAliveInterval={self._timeout}"
        self._env.setdefault("GIT_SSH_COMMAND", ssh)
        self._config = [*_CONFIG.items(), *config.items()]
        parts = urlsplit(remote)
        if parts.scheme not in {"http", "https"}:
            return
        base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        if token is not None:
            encoded = base64.b64encode(f"{user}:{token.secret}".encode()).decode()
            self._secrets = [token.secret, quote(token.secret, safe=""), encoded]
            # the empty line forgets the helpers that the user configured for this host
            self._config += [(f"credential.{base}.helper", ""), (f"credential.{base}.helper", _HELPER)]
            self._env |= {_SECRET: token.secret, "DATAFERRY_GIT_USER": user}
        if settings is not None:
            bundle = host_option(settings, parts, "ca_bundle") or os.environ.get("SSL_CERT_FILE") or ""
            files = {"sslCAInfo": os.path.expanduser(bundle)}
            files |= zip(("sslCert", "sslKey"), client_certificate(settings, parts), strict=False)
            self._config += [(f"http.{base}.{option}", file) for option, file in files.items() if file]

    def run(
        self,
        *words: str | os.PathLike[str],
        stdin: bytes = b"",
        check: bool = True,
        again: bool = False,
        env: Mapping[str, str] | None = None,
        into: BinaryIO | None = None,
    ) -> Done:
        """Run one command; `again`: it talks to a server, and a failure may pass; `into` is where its output goes."""
        wait = FIRST_WAIT
        for attempt in range(1, _TRIES + 1):
            done = self._once(words, stdin, env or {}, into)
            most = _TRIES_IN_SILENCE if _SILENT.search(done.errors) else _TRIES
            if done.status == 0 or not again or attempt >= most or not _PASSING.search(done.errors):
                break
            time.sleep(wait * random.uniform(0.7, 1.3))  # noqa: S311
            wait *= 8 if " 429" in done.errors else 2
        if check and done.status:
            raise self.error(done)
        return done

    def error(self, done: Done) -> PublishError:
        """The error that a failed command is."""
        if _DENIED.search(done.errors):
            return AccessDenied(self.place, done.reason, self.remedy)
        return PublishError(self.place, done.reason)

    def _once(
        self, words: Sequence[str | os.PathLike[str]], stdin: bytes, env: Mapping[str, str], into: BinaryIO | None
    ) -> Done:
        seconds = max(round(TO_CHANGE), self._timeout) if "push" in words else self._timeout
        waits = [(option, str(seconds)) for option in ("http.lowSpeedTime", "lfs.activitytimeout")]
        options = [word for name, value in (*self._config, *waits) for word in ("-c", f"{name}={value}")]
        done = subprocess.run(  # noqa: S603 - no shell, and the words are ours
            ["git", *options, *words],  # noqa: S607 - the one that the user has in PATH
            cwd=self.folder,
            env={**self._env, **env},
            input=stdin,
            stdout=into or subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=self.inherited,
            check=False,
        )
        errors = done.stderr.decode(errors="replace")
        for secret in self._secrets:
            errors = errors.replace(secret, "...")
        errors = re.sub(r"\w+://[^\s'\"]*@[^\s'\"]*", lambda match: redact_url(match[0]), errors)
        return Done(done.returncode, done.stdout or b"", errors)

    @cached_property
    def directory(self) -> str:
        """Where the repository keeps its own files."""
        return self.run("rev-parse", "--absolute-git-dir").text

    @cached_property
    def identity(self) -> dict[str, str]:
        """Variables that give commits an author where git knows none."""
        if self.run("var", "GIT_COMMITTER_IDENT", check=False).status == 0:
            return {}
        who = {"NAME": "dataferry", "EMAIL": f"dataferry@{socket.gethostname() or 'localhost'}"}
        return {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in who.items()}


class Branch:
    """Files added to one branch, without a work tree and without force.

    With `shallow` one commit is fetched without its files; else `remote` is a name, and its tracking branch is kept.
    An empty `remote` is none: commits stay in the repository.
    """

    def __init__(self, git: Git, remote: str, name: str, *, shallow: bool) -> None:
        self.git, self.remote, self.name, self.shallow = git, remote, name, shallow
        self._ref = "refs/dataferry/tip" if shallow else f"refs/remotes/{remote}/{name}"
        #: The newest commit; empty where there is no such branch yet.
        self.tip = ""
        self._files: dict[str, dict[str, str]] = {}

    def fetch(self) -> str:
        """Bring the newest commit of the branch; empty where there is no such branch yet."""
        if not self.remote:
            return ""
        depth = ["--depth=1", "--filter=blob:none"] if self.shallow else []
        words = ["fetch", "-q", "--no-tags", "--no-write-fetch-head", *depth, self.remote]
        done = self.git.run(*words, f"+refs/heads/{self.name}:{self._ref}", check=False, again=True)
        if done.status and "couldn't find remote ref" not in done.errors:
            raise self.git.error(done)
        self.tip = "" if done.status else self.git.run("rev-parse", "--verify", f"{self._ref}^{{commit}}").text
        return self.tip

    def files(self, tree: str = "") -> Mapping[str, str]:
        """Path -> blob of every file of a commit, by default the tip."""
        tree = tree or self.tip
        if tree not in self._files:
            listed = self.git.run("ls-tree", "-r", "-z", "--full-tree", tree).out if tree else b""
            entries = (entry.partition("\t") for entry in listed.decode(errors="surrogateescape").split("\0"))
            # a mode, "blob" or "commit" of a submodule, and the object
            found = {path: head.split()[2] for head, _, path in entries if " blob " in head}
            self._files = {tree: found}
        return self._files[tree]

    def read(self, path: str, tree: str = "") -> bytes | None:
        """The bytes of a small file of a commit, by default the tip; None where there is none."""
        blob = self.files(tree).get(path)
        return None if blob is None else self.git.run("cat-file", "blob", blob, again=True).out

    def store(self, data: bytes) -> str:
        """Put bytes into the repository; returns their blob."""
        return self.git.run("hash-object", "-w", "--stdin", stdin=data).text

    def commit(self, blobs: Mapping[str, str], message: str, parents: Sequence[str], tree: str) -> str:
        """Make a commit that adds blobs by their paths to another commit or tree; an empty one is none."""
        env = {"GIT_INDEX_FILE": f"{self.git.directory}/dataferry-index"}
        self.git.run("read-tree", *([tree] if tree else ["--empty"]), env=env)
        lines = [f"100644 {blob}\t{path}\0" for path, blob in blobs.items()]
        self.git.run("update-index", "-z", "--index-info", stdin="".join(lines).encode(), env=env)
        made = self.git.run("write-tree", "--missing-ok", env=env).text
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git.run("commit-tree", made, *words, "-F", "-", stdin=message.encode(), env=self.git.identity).text

    def push(self, commit: str, *, dry_run: bool = False, to: str = "") -> bool:
        """Push a commit, never with force; False if somebody else pushed before."""
        words = ["push", "--porcelain", *(["--dry-run", "--no-verify"] if dry_run else []), self.remote]
        done = self.git.run(*words, f"{commit}:refs/heads/{to or self.name}", check=False, again=True)
        if done.status == 0:
            return True
        lines = [line for line in done.text.splitlines() if line.startswith("!")]
        if lines and all(_LOST.search(line) for line in lines):
            return False
        if not lines:
            raise self.git.error(done)
        reason = "; ".join([line.rpartition("\t")[2] for line in lines] + ([done.reason] if done.errors else []))
        remedy = next((remedy for pattern, remedy in _REFUSED.items() if re.search(pattern, reason)), "")
        raise PublishError(self.git.place, f"the push was refused: {reason}", remedy)

    def while_others_push(self, attempt: Callable[[], bool]) -> None:
        """Fetch, commit and push until an attempt was fast enough."""
        for number in range(_ROUNDS):
            if attempt():
                return
            time.sleep(random.uniform(0.05, 0.3) * min(number + 1, 10))  # noqa: S311
        raise PublishError(self.git.place, f"others pushed in between, {_ROUNDS} times", "run this again")
