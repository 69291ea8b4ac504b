"""Anything that fsspec speaks: ``gs://``, ``abfs://``, ``sftp://``, ``hf://``; behind ``fsspec:`` all the rest."""

from __future__ import annotations

import base64
import importlib.util
import inspect
import io
import logging
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl, quote, urlsplit

from ..config.settings import load_settings
from ..download.origin import host_option
from ..download.source import Source
from ..errors import AccessDenied, BadName, Conflict, DataferryError, MissingExtra, PublishError, TransferError
from ..registry.names import check_url, quoted_name, redact_url
from ..threads import in_time
from .base import Host, HostedFile, HostStatus, Locators, Moved, Notes, Publisher, Upload

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.entry import Entry


_T = TypeVar("_T")


class _Protocol(NamedTuple):
    """What is known of a protocol; nothing is imported for that."""

    #: Options of a declaration that cannot lead a login to another server, nor load code.
    options: frozenset[str] = frozenset()
    #: The module that speaks it: a package of this name, where the extra ``dataferry[fsspec]`` does not bring it.
    module: str = "fsspec"
    #: Options that ask without a login; None where nobody can read without one.
    anonymous: Mapping[str, Any] | None = MappingProxyType({})
    #: How variables begin, and the folder of the provider's tool, that may hold a login.
    login_in: tuple[str, str] = ("", "")
    #: Whether ``[hosts]`` of config.toml may hold its login.
    login: bool = False
    #: Whether a file is visible while it grows, and so grows under another name; whether a cut one is continued.
    grows: bool = True
    appends: bool = False
    #: Whether listings tell an md5.
    md5: bool = False
    #: The options of its library that limit the seconds without an answer.
    timeouts: tuple[str, ...] = ("timeout",)


_ANY = frozenset({"anon", "block_size", "timeout", "version_aware"})
_FOLDER = _ANY | {"port", "username"}
_AZURE = _Protocol(
    _ANY | {"account_name", "max_concurrency"},
    "adlfs",
    {"anon": True},
    ("AZURE_", "~/.azure"),
    grows=False,
    md5=True,
    timeouts=("connection_timeout", "read_timeout"),
)
_GOOGLE = _Protocol(
    _ANY | {"project", "requester_pays"},
    "gcsfs",
    {"token": "anon"},
    ("GOOGLE_", "~/.config/gcloud"),
    grows=False,
    md5=True,
    timeouts=(),  # gcsfs takes one for a whole request only, however large its answer
)
_SFTP = _Protocol(_FOLDER | {"banner_timeout", "compress"}, "paramiko", None, login=True, appends=True)
#: What a package may name. Of all others some run code that a server sends (dask), write files where their options
#: say (simplecache), or pass the URL on (reference): they count only where the user's own configuration names them.
_PROTOCOLS = {
    **dict.fromkeys(("abfs", "abfss", "az"), _AZURE),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("sftp", "ssh"), _SFTP),
    "ftp": _Protocol(_FOLDER | {"encoding", "tls"}, login=True),
    "hf": _Protocol(_ANY | {"revision"}, "huggingface_hub", {"token": False}, grows=False, timeouts=()),
    "memory": _Protocol(grows=False, timeouts=()),
    "smb": _Protocol(_FOLDER | {"encrypt", "share_access"}, "smbprotocol", None, login=True),
}
#: Words in the names of options that hold a secret, which a registry must not.
_SECRET = ("key", "password", "secret", "token", "connection_string", "sas", "credential")
#: Of the Hugging Face Hub: a repository, a revision and what is below.
_HUB = re.compile(r"((?:(?:datasets|spaces)/)?+[^/@]+/[^/@]+)(?:@([^/]*))?/(.*)").fullmatch
_PRIVATE = ".dataferry-"
_BLOCK = 4 << 20


class FsspecHost(Host):
    """Files in a store that fsspec supports.

    It is declared as ``gs://bucket/path/``, ``abfs://container/path/?account_name=NAME``, ``sftp://host/path/``,
    ``hf://datasets/owner/repo/``, or any other behind ``fsspec:``. The query holds options for the implementation,
    and ``public``: a base URL at which the same files are served without a login.
    """

    #: Seconds for one answer of a library that may have no timeout of its own; a list of a million files takes minutes.
    answer_within = 300.0
    schemes = ("abfs", "abfss", "az", "fsspec", "ftp", "gcs", "gs", "hf", "sftp", "smb")

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        redacted, belongs = redact_url(spec), "and a registry is public: use the protocol's own login"
        url, _, query = (spec.partition(":")[2] if spec.lower().startswith("fsspec:") else spec).partition("?")
        self.url = url.rstrip("/") + "/"
        parts = urlsplit(self.url)
        if not parts.scheme or not parts.netloc:
            raise BadName(f"{redacted!r} is not a URL for fsspec: write PROTOCOL://place/folder/")
        if parts.password is not None:
            raise BadName(f"{redacted!r} contains a password, {belongs}")
        options = dict(parse_qsl(query, keep_blank_values=True))
        public = options.pop("public", "")
        for key in options:
            if any(word in key.lower() for word in _SECRET):
                raise BadName(f"{redacted!r}: {key} is a secret, {belongs}")
        self.protocol = parts.scheme.lower()
        self.known = _PROTOCOLS.get(self.protocol) or _Protocol(timeouts=())
        self.place = parts.netloc.rpartition("@")[2]
        self.options: dict[str, Any] = {key: _typed(value) for key, value in options.items()}
        self.stated = check_url(public, "public") if public else ""
        self.public = self.stated or _public_base(self.protocol, parts.netloc, parts.path, self.options)
        self._idle: dict[str, list[tuple[Any, str]]] = {"read": [], "login": [], "publish": []}

    def status(self, settings: Settings) -> HostStatus:
        """Where user and password are, for a protocol that has no login of its own."""
        if self.login(settings):
            return HostStatus(origin=f'[hosts."{self.place}"] of config.toml')
        return HostStatus(origin="" if _surely_no_login(self.known) else None)

    @property
    def redacted(self) -> str:
        """The declaration as it is: one that holds a secret is refused."""
        return self.spec

    @classmethod
    def missing(cls, scheme: str) -> str:
        """The library of the protocol."""
        library, package = lacking(scheme)
        more = f" {package}" if package else ""
        return f"{library}: pip install 'dataferry[fsspec]'{more}" if library else ""

    def check_installed(self) -> None:
        """Raise `MissingExtra` without the library of the protocol."""
        library, package = lacking(self.protocol)
        if library:
            raise MissingExtra("fsspec", f"{library} for {self.protocol}://", package)

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The public URL where there is one, else through fsspec."""
        if self.public:
            return [Source(self.public + quoted_name(name), self.redacted)]
        return [self._through(name, "read")]

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """What did not come without a login comes with the user's, if there may be one."""
        if self.public:
            may_log_in = not _surely_no_login(self.known)
        else:
            may_log_in = self.known.anonymous is not None and bool(self.login(settings))
        if settings.anonymous or not may_log_in:
            return {}
        return {name: [self._through(name, "login")] for name in wanted}

    def _through(self, name: str, purpose: str) -> Source:
        return Source(self.url + quoted_name(name), self.redacted, opener=_Opener(self, name, purpose))

    def login(self, settings: Settings) -> dict[str, str]:
        """User and password of the settings, for a protocol that has no login of its own."""
        parts = urlsplit(self.url)
        user, password = (host_option(settings, parts, word) for word in ("user", "password"))
        login = {"username": user if parts.username is None else "", "password": password}
        return {word: value for word, value in login.items() if value} if self.known.login else {}

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """All files below the URL; md5 where the store tells it."""
        purpose = "publish" if self.spec in settings.named_hosts else "read" if settings.anonymous else "login"
        try:
            with self.connection(purpose, settings.timeout) as (system, folder):
                return self.files_in(system, folder)
        except OSError as error:
            raise TransferError(self.redacted, str(error), kind="list") from error

    def files_in(self, system: Any, folder: str) -> dict[str, HostedFile]:
        """All files below a folder, none where that is not there."""
        found: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            found = self.in_time(system.find, folder, detail=True)
        return {
            path[len(folder) + 1 :]: HostedFile(info.get("size"), None, _md5(info))
            for path, info in found.items()
            if path.startswith(folder + "/") and not os.path.basename(path).startswith(_PRIVATE)
        }

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """See `Publisher`."""
        return FsspecPublisher(self, settings, about)

    @contextmanager
    def connection(self, purpose: str, timeout: float) -> Iterator[tuple[Any, str]]:
        """A file system and the folder in it, for this thread alone: to ``read``, with a ``login``, to ``publish``.

        What goes wrong inside is an `OSError`, and the connection is not used again.
        """
        idle = self._idle[purpose]
        made = idle.pop() if idle else self.in_time(self._connect, purpose, timeout)
        made[0].invalidate_cache()  # listings that fsspec keeps go stale
        try:
            yield made
        except (FileNotFoundError, FileExistsError, DataferryError):
            idle.append(made)
            raise
        except Exception as error:
            raise _as_os_error(error) from error
        idle.append(made)

    def in_time(self, do: Callable[..., _T], *args: object, **options: object) -> _T:
        """Call a library in a thread of its own, that is left alone if no answer comes."""
        return in_time(self.answer_within, partial(do, *args, **options))

    def _connect(self, purpose: str, timeout: float) -> tuple[Any, str]:
        settings = load_settings()
        if purpose != "publish" and (reason := _not_for_a_package(self, settings)):
            raise PermissionError(reason)
        self.check_installed()
        from fsspec.core import url_to_fs

        login: Mapping[str, Any] = {}
        if self.known.anonymous is not None and (_surely_no_login(self.known) or (purpose == "read" and self.public)):
            login = self.known.anonymous
        elif purpose != "read" or self.known.anonymous is None:
            login = self.login(settings)
        options = dict.fromkeys(self.known.timeouts, timeout) | self.options
        connect = _sftp_to_known_hosts if self.known is _SFTP else url_to_fs
        try:
            # fsspec would keep an instance for every thread, and a broken one for ever
            system, folder = connect(self.url, skip_instance_cache=True, **options, **login)
        except (ImportError, ValueError) as error:
            raise OSError(f"fsspec cannot open {self.redacted}: {error}") from error
        except Exception as error:
            raise _as_os_error(error) from error
        return system, str(folder).rstrip("/")


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens a file for reading from an offset; its connection is its own until it is closed."""

    host: FsspecHost
    name: str
    purpose: str

    def __call__(self, start: int) -> BinaryIO:
        with ExitStack() as stack:
            system, folder = stack.enter_context(self.host.connection(self.purpose, load_settings().timeout))
            file: Any = stack.enter_context(system.open(f"{folder}/{self.name}", "rb", block_size=_BLOCK))
            if self.host.known is _SFTP:
                file = io.BufferedReader(_Pipelined(file, start), _BLOCK)
            elif start:
                file.seek(start)
            return cast("BinaryIO", SimpleNamespace(read=file.read, close=stack.pop_all().close))


def _typed(value: str) -> Any:
    if value.lower() in {"true", "false"}:
        return value.lower() == "true"
    return int(value) if re.fullmatch("[0-9]{1,18}", value) else value


def _public_base(protocol: str, place: str, path: str, options: Mapping[str, Any]) -> str:
    """The base URL at which a store serves public files by HTTPS, if its protocol has one."""
    if protocol in {"gs", "gcs"}:
        return f"https://storage.googleapis.com/{place}{quote(path)}"
    if protocol in {"abfs", "abfss", "az"}:
        container, at, endpoint = place.partition("@")
        account = endpoint.partition(".")[0] if at else str(options.get("account_name", ""))
        return f"https://{account}.blob.core.windows.net/{container}{quote(path)}" if account else ""
    repository = _HUB(f"{place}{path}") if protocol == "hf" else None
    if repository is None:
        return ""
    name, revision, below = repository.groups()
    return f"https://huggingface.co/{name}/resolve/{quote(revision or 'main', safe='')}/{quote(below)}"


def lacking(protocol: str) -> tuple[str, str]:
    """What has to be installed for a protocol, as module and package; nothing is imported for that."""
    module = _PROTOCOLS.get(protocol, _Protocol()).module
    for name in dict.fromkeys(("fsspec", module)):
        if importlib.util.find_spec(name) is None:
            return name, "" if module in {"fsspec", "paramiko"} else module
    return "", ""


def _surely_no_login(known: _Protocol) -> bool:
    """Whether no variable and no folder of a cloud's tool holds a login.

    Its library would ask the machine's metadata service for one, for minutes where there is none.
    """
    variables, folder = known.login_in
    in_environment = any(name.startswith(variables) for name in os.environ)
    return bool(variables) and not (in_environment or os.path.isdir(os.path.expanduser(folder)))


class _Pipelined(io.RawIOBase):
    """A file over SFTP of which many blocks are asked for at once: one by one each costs a round trip."""

    def __init__(self, file: Any, start: int) -> None:
        self._file, self._at = file, start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        (data,) = self._file.readv([(self._at, len(buffer))])
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _not_for_a_package(host: FsspecHost, settings: Settings) -> str:
    """Why a package may not name this store; empty where it may.

    A registry never decides which code runs, nor to whom the user's login goes.
    """
    if host.protocol in settings.fsspec_protocols:
        return ""
    if host.protocol not in _PROTOCOLS or "::" in host.url:
        return (
            f"a package may not choose fsspec's {host.protocol}:// (it may run code, write files or lead elsewhere); "
            f'if you trust this package, write fsspec_protocols = ["{host.protocol}"] into config.toml'
        )
    options = host.options.keys() - host.known.options
    # the name of an account becomes the begin of its server's name
    if not re.fullmatch(r"[A-Za-z0-9-]*", str(host.options.get("account_name", ""))):
        options.add("account_name")
    if not options:
        return ""
    option = min(options)
    return (
        f"{option} in its declaration could lead a login to another server, so dataferry does not use it. If you "
        f'trust the server, write {{"{host.protocol}": {{"{option}": "..."}}}} into ~/.config/fsspec/conf.json. '
        "Authors: leave it out, or add a public= URL"
    )


def _sftp_to_known_hosts(url: str, **given: Any) -> tuple[Any, str]:
    """Connect by SFTP, as ``fsspec.core.url_to_fs`` does, but to no host whose key the user does not know."""
    import paramiko
    from fsspec.implementations.sftp import SFTPFileSystem

    # without a handler its threads print tracebacks of connections that end
    logging.getLogger("paramiko").addHandler(logging.NullHandler())

    class KnownSFTP(SFTPFileSystem):  # type: ignore[misc]  # it carries no types
        """Up to 2026.7 fsspec trusts every host; and it waits for ever."""

        def _connect(self) -> None:
            self.client = paramiko.SSHClient()
            for path in (os.path.expanduser("~/.ssh/known_hosts"), "/etc/ssh/ssh_known_hosts"):
                if os.path.isfile(path):
                    self.client.load_system_host_keys(path)
            self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
            seconds = self.ssh_kwargs["timeout"]
            waits = {"banner_timeout": seconds, "auth_timeout": seconds, "channel_timeout": seconds}
            self.client.connect(self.host, **(waits | self.ssh_kwargs))
            self.ftp = self.client.open_sftp()
            self.ftp.get_channel().settimeout(seconds)

    parts = urlsplit(url)
    given = {"port": parts.port or 22, "username": parts.username, **given}
    return KnownSFTP(host=parts.hostname, **given), parts.path


def _md5(info: Mapping[str, Any]) -> str | None:
    found = info.get("md5Hash") or (info.get("content_settings") or {}).get("content_md5")
    if isinstance(found, str):
        found = base64.b64decode(found)
    return bytes(found).hex() if found else None


def _as_os_error(error: BaseException) -> OSError:
    if isinstance(error, OSError):
        return error
    denied = getattr(error, "status_code", None) in {401, 403} or any(
        word in type(error).__name__ for word in ("Auth", "Permission", "Credential", "Forbidden")
    )
    text = str(error).strip().partition("\n")[0]
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if "not found in known_hosts" in text:
        return PermissionError(f"{reason}: log in once with ssh, and check its key")
    denied = denied or text.startswith("530 ")  # FTP: not logged in
    return PermissionError(reason) if denied else OSError(reason)


class FsspecPublisher(Publisher):
    """Takes files to a store: under a temporary name where a file is visible while it grows, never onto other bytes."""

    repairs = True
    host: FsspecHost

    def __init__(self, host: FsspecHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self.parallel = 4 if host.known.grows else 16
        self.tells_digests = host.known.md5

    @property
    def declared(self) -> str:
        """The ``public`` URL where one is given: readers need neither fsspec nor a login then."""
        return self.host.stated or self.host.spec

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """Where nobody can read without a login, nor can the proof."""
        if self.host.public or self.host.known.anonymous is not None:
            return ()
        reason = "has no anonymous access: the files are read back with your login, and every user needs one"
        return [f"{self.host.protocol} {reason}; ?public=https://... names a web server that serves the same folder"]

    def check_rights(self) -> str:
        """Connect and look at the folder; whether it may be written shows only when it is."""
        self.host.check_installed()
        if _surely_no_login(self.host.known):
            raise self._denied("no login was found for this store")
        if self.host.known is _AZURE and not self.host.public:
            remedy = f"declare {self.host.url}?account_name=ACCOUNT"
            raise PublishError(self.host.redacted, "users cannot know which storage account this is", remedy)
        with self._connection() as (system, folder), suppress(FileNotFoundError):
            self.host.in_time(system.ls, folder)
        return f"through {type(system).__name__} with its own login"

    def _denied(self, reason: str) -> AccessDenied:
        login = f"that of fsspec's {self.host.protocol}:// (its environment variables or ~/.config/fsspec/*.json)"
        if self.host.known.login:
            login = f'the keys of ssh, or user and password in [hosts."{self.host.place}"] of config.toml'
        return AccessDenied(self.host.redacted, reason, f"the login is {login}; it must be able to write there")

    @contextmanager
    def _connection(self, name: str = "") -> Iterator[tuple[Any, str]]:
        """A connection to publish over; errors become those of dataferry, about the folder or one file in it."""
        place = f"{self.host.url}{name}" if name else self.host.redacted
        try:
            with self.host.connection("publish", self.settings.timeout) as made:
                yield made
        except DataferryError:
            raise
        except FileExistsError as error:
            reason = "somebody else has uploaded a file there in the meantime; run the same command again to compare it"
            raise Conflict(place, reason) from error
        except PermissionError as error:
            raise self._denied(str(error)) from error
        except OSError as error:
            remedy = "run the same command again: it continues from there" if name else ""
            raise PublishError(place, str(error), remedy) from error

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What lies there under the names."""
        names = {upload.name for upload in uploads}
        with self._connection() as (system, folder):
            found = self.host.files_in(system, folder)
            # adlfs lists nothing where there is no container, and Azure would refuse each file
            container = "" if found or self.host.known is not _AZURE else folder.partition("/")[0]
            if container and not self.host.in_time(system.exists, container):
                make = f"az storage container create --name {container} --public-access blob"
                reason = f"there is no container {container!r} in this account"
                raise PublishError(self.host.redacted, reason, f"compare the name, or make it: {make}")
        return {name: file for name, file in found.items() if name in names}

    def discard(self, names: Sequence[str]) -> None:
        """Remove damaged copies."""
        with self._connection() as (system, folder):
            for name in names:
                with suppress(FileNotFoundError):
                    self.host.in_time(system.rm_file, f"{folder}/{name}")

    def begin(self, uploads: Sequence[Upload], notes: Notes) -> None:
        """Make the folders: SFTP has no word for one that another upload has made in the same moment."""
        with self._connection() as (system, folder):
            for below in sorted({posixpath.dirname(upload.name) for upload in uploads}):
                self.host.in_time(system.makedirs, f"{folder}/{below}".rstrip("/"), exist_ok=True)

    def upload(self, upload: Upload, notes: Notes, moved: Moved) -> Locators:
        """Copy it there."""
        with self._connection(upload.name) as (system, folder):
            path = f"{folder}/{upload.name}"
            if self.host.in_time(system.exists, path):
                raise FileExistsError(path)
            if self.host.known.grows:
                self._grow(system, path, upload, moved)
            else:
                # one object by one request or one commit: it is not there before it is whole
                create = {"mode": "create"} if "mode" in inspect.signature(system.put_file).parameters else {}
                system.put_file(str(upload.path), path, **create)
                moved(upload.size)
            size = self.host.in_time(system.info, path).get("size")
            if size not in {None, upload.size}:
                raise OSError(f"{size} bytes are there instead of {upload.size}")
        return {}

    def _grow(self, system: Any, path: str, upload: Upload, moved: Moved) -> None:
        # the private name holds the hash, so that what is there of it belongs to these bytes
        folder, base = posixpath.split(path)
        private = f"{folder}/{_PRIVATE}{upload.sha256[:16]}-{base}"[: 250 + len(folder)]
        there = 0
        if self.host.known.appends:
            with suppress(FileNotFoundError):
                there = int(self.host.in_time(system.info, private)["size"])
        if there > upload.size:
            there = 0
        moved(there)
        with open(upload.path, "rb") as source, system.open(private, "ab" if there else "wb") as target:
            if hasattr(target, "set_pipelined"):
                target.set_pipelined(True)  # paramiko would wait for the answer to each 32 KiB
            source.seek(there)
            while block := source.read(1 << 20):
                self.host.in_time(target.write, block)
                moved(len(block))
        if self.host.in_time(system.exists, path):
            raise FileExistsError(path)
        self.host.in_time(system.mv, private, path)
