"""One git command after the other: its environment, its credentials, its errors."""

from __future__ import annotations

import base64
import os
import random
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urlsplit

from ...errors import AccessDenied, PublishError
from ...registry.names import redact_url
from .program import Done, find_git

if TYPE_CHECKING:
    from ...config.credentials import Token
    from ...config.settings import Settings

__all__ = ["Git"]

#: Seconds before another try; doubled each time.
FIRST_WAIT = 1.0
_TRIES = 4
#: The variable that only git's own credential helper reads, in the environment of git alone.
_SECRET = "DATAFERRY_GIT_TOKEN"  # noqa: S105 - the name of a variable
_HELPER = (
    f"""!f() {{ test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$DATAFERRY_GIT_USER" "${_SECRET}"; }}; f"""
)
#: What would send git somewhere else, or make it talk of headers.
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
    r"|returned error: (429|5\d\d)\b|transfer closed|Operation too slow",
    re.IGNORECASE,
)


class Git:
    """Runs git in one folder.

    Parameters
    ----------
    folder : path-like
        The repository, or where git is to run.
    place : str
        The host, for errors.
    settings : Settings, optional
        CA bundles and client certificates of `remote`.
    remote : str
        The URL whose host gets the token.
    token : Token, optional
        Goes to the host of `remote`, and is seen by no other.
    user : str
        The user that goes with the token.
    remedy : str
        What an `AccessDenied` says.
    lfs : bool
        Whether git-lfs is needed.

    Raises
    ------
    PublishError
        If git is not installed.
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
    ) -> None:
        self.folder = Path(folder)
        self.place = place
        self.remedy = remedy
        #: Open files that every git inherits: a lock then lasts as long as any of them, however this process ends.
        self.hosted: list[int] = []
        self._program = find_git(place, lfs=lfs)
        self._hidden = _forms_of(token.secret, user) if token else []
        self._env = {name: value for name, value in os.environ.items() if not _STRAY.fullmatch(name)}
        self._env |= {"LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0"}
        self._env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        config = {
            "gc.auto": "0",
            "maintenance.auto": "false",
            "core.quotePath": "false",
            "advice.detachedHead": "false",
        }
        config |= {"http.lowSpeedLimit": "10", "http.lowSpeedTime": "300", "push.default": "nothing"}
        self._config = list(config.items())
        parts = urlsplit(remote)
        if parts.scheme in {"http", "https"}:
            self._web(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", settings, remote, token, user)

    def _web(self, base: str, settings: Settings | None, remote: str, token: Token | None, user: str) -> None:
        if token is not None:
            # the empty line forgets the helpers that the user configured for this host
            self._config += [(f"credential.{base}.helper", ""), (f"credential.{base}.helper", _HELPER)]
            self._env |= {_SECRET: token.secret, "DATAFERRY_GIT_USER": user}
        if settings is not None:
            from ...download.access import host_option

            bundle = host_option(settings, urlsplit(remote), "ca_bundle")
            cert = host_option(settings, urlsplit(remote), "client_cert")
            bundle = bundle or os.environ.get("SSL_CERT_FILE")
            if bundle:
                self._config.append((f"http.{base}.sslCAInfo", os.path.expanduser(str(bundle))))
            if cert:
                first, *key = [cert] if isinstance(cert, str) else list(cert)
                self._config.append((f"http.{base}.sslCert", str(first)))
                self._config += [(f"http.{base}.sslKey", str(k)) for k in key[:1]]

    def configure(self, name: str, value: str) -> None:
        """Set an option for the commands that follow; it is written nowhere."""
        self._config.append((name, value))

    def run(
        self,
        *words: str | os.PathLike[str],
        told: bytes | None = None,
        check: bool = True,
        again: bool = False,
        env: Mapping[str, str] | None = None,
        into: BinaryIO | None = None,
    ) -> Done:
        """Run one command.

        Parameters
        ----------
        *words : str or path-like
            What follows ``git``.
        told : bytes, optional
            Its standard input.
        check : bool
            Whether a status other than 0 is an error.
        again : bool
            Whether it talks to a server and is run again after a failure that may pass.
        env : mapping of str to str, optional
            Further variables.
        into : file, optional
            Where its output goes instead.

        Returns
        -------
        Done
            What came of it.

        Raises
        ------
        AccessDenied
            If the server did not let it.
        PublishError
            If it failed otherwise.
        """
        wait = FIRST_WAIT
        for left in range(_TRIES - 1 if again else 0, -1, -1):
            done = self._once(words, told, env or {}, into)
            if done.status == 0 or not left or not _PASSING.search(done.said):
                break
            time.sleep(wait * random.uniform(0.7, 1.3))  # noqa: S311
            wait *= 8 if " 429" in done.said else 2
        if check and done.status:
            raise self.error(done)
        return done

    def error(self, done: Done) -> PublishError:
        """The error that a failed command is."""
        if _DENIED.search(done.said):
            return AccessDenied(self.place, done.reason, self.remedy)
        return PublishError(self.place, done.reason)

    def _once(
        self, words: Sequence[str | os.PathLike[str]], told: bytes | None, env: Mapping[str, str], into: BinaryIO | None
    ) -> Done:
        variables = {**self._env, **env}
        first = int(variables.get("GIT_CONFIG_COUNT", "0"))
        for number, (name, value) in enumerate(self._config, first):
            variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        variables["GIT_CONFIG_COUNT"] = str(first + len(self._config))
        command = [self._program, *(os.fspath(word) for word in words)]
        stdin: dict[str, Any] = {"stdin": subprocess.DEVNULL} if told is None else {"input": told}
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and the words are ours
                command,
                cwd=self.folder,
                env=variables,
                **stdin,
                stdout=subprocess.PIPE if into is None else into,
                stderr=subprocess.PIPE,
                pass_fds=self.hosted,
                check=False,
            )
        except OSError as error:
            raise PublishError(self.place, f"git could not be run: {error.strerror or error}") from error
        return Done(done.returncode, done.stdout or b"", self._without_secrets(done.stderr.decode(errors="replace")))

    def _without_secrets(self, text: str) -> str:
        for form in self._hidden:
            text = text.replace(form, "...")
        return re.sub(r"\w+://[^\s'\"]*@[^\s'\"]*", lambda m: redact_url(m[0]), text)

    def identity(self) -> dict[str, str]:
        """Variables that give commits an author where git knows none."""
        if self.run("var", "GIT_COMMITTER_IDENT", check=False).status == 0:
            return {}
        import getpass
        import socket

        try:
            name = getpass.getuser()
        except (OSError, KeyError):
            name = "dataferry"
        mail = f"{name}@{socket.gethostname() or 'localhost'}"
        return {
            f"GIT_{who}_{what}": v for who in ("AUTHOR", "COMMITTER") for what, v in (("NAME", name), ("EMAIL", mail))
        }


def _forms_of(secret: str, user: str) -> list[str]:
    encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()
    return [secret, quote(secret, safe=""), encoded]
