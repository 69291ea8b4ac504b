"""Hosts that fsspec speaks to: SFTP through a real sshd, Azure's blobs through Azurite."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import fsspec
import pytest
from click.testing import Result
from fsspec.implementations.memory import MemoryFileSystem

from dataferry import PackageData
from dataferry.config import Settings
from dataferry.errors import AccessDenied, BadName, DataferryError, FileUnavailable, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.base import Host
from dataferry.hosts.fsspec import FsspecHost
from dataferry.publish import check
from dataferry.testing import HostContract, PublishContract, RangeServer

#: Azurite's own account key, a constant of the program.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
DUST = os.urandom(3_000_000)


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ("gs://my-bucket/v1/", "https://storage.googleapis.com/my-bucket/v1/maps/a%20b.fits"),
        ("abfs://maps/v1/?account_name=team", "https://team.blob.core.windows.net/maps/v1/maps/a%20b.fits"),
        ("abfss://maps@team.dfs.core.windows.net/v1", "https://team.blob.core.windows.net/maps/v1/maps/a%20b.fits"),
        ("hf://datasets/org/sky@v1/fits/", "https://huggingface.co/datasets/org/sky/resolve/v1/fits/maps/a%20b.fits"),
        ("hf://datasets/org/sky", "https://huggingface.co/datasets/org/sky/resolve/main/maps/a%20b.fits"),
        ("sftp://host.example/d/?public=https://host.example/d/", "https://host.example/d/maps/a%20b.fits"),
    ],
)
def test_public_stores_are_read_by_https_first(spec: str, url: str) -> None:
    host = make_host(spec)
    (source,) = host.sources("maps/a b.fits", None)
    assert source.url == url
    assert source.opener is None
    stranger = host.look_up({"maps/a b.fits": None}, Settings().as_anonymous())
    assert stranger == {}


@pytest.mark.parametrize(
    "spec",
    [
        "sftp://ann:s3cret@host.example/data/",
        "abfs://maps/?account_key=s3cret",
        "gs://bucket/?token=s3cret",
        "fsspec:nonsense",
        "fsspec:",
        "sftp:///data/",
    ],
)
def test_secrets_and_nonsense_are_refused(spec: str) -> None:
    with pytest.raises(BadName) as caught:
        FsspecHost(spec)
    assert "s3cret" not in str(caught.value)


class TestSftp(HostContract):
    """Reading through SFTP."""

    def test_urls_are_quoted(self) -> None:
        """They only name the place: no request is made of them."""

    @pytest.fixture(autouse=True)
    def server(self, sshd: Any, home: Path, tmp_path: Path) -> None:
        sshd.trust(home)
        self.sshd, self.folder = sshd, tmp_path / "published"

    def serving(self, files: Mapping[str, bytes]) -> AbstractContextManager[Host]:
        @contextmanager
        def serve() -> Iterator[Host]:
            for name, data in files.items():
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            yield FsspecHost(self.sshd.declared(self.folder))

        return serve()


def test_a_host_key_that_nobody_knows_is_refused(
    sshd: Any, home: Path, tmp_path: Path, make_package: Callable[..., str]
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "dust.fits").write_bytes(DUST)
    package = make_package({"dust.fits": DUST}, head=f'mirrors = ["{sshd.declared(tmp_path / "www")}"]')
    sshd.trust(home, host=False)
    with pytest.raises(FileUnavailable, match="known_hosts"):
        PackageData(package, show_progress=False).get("dust.fits")
    sshd.trust(home)
    assert Path(PackageData(package, show_progress=False).get("dust.fits")).read_bytes() == DUST


def test_without_a_key_the_reason_is_the_login(
    sshd: Any, home: Path, tmp_path: Path, make_package: Callable[..., str]
) -> None:
    package = make_package({"dust.fits": DUST}, head=f'mirrors = ["{sshd.declared(tmp_path)}"]')
    sshd.trust(home, key=False)
    with pytest.raises(FileUnavailable, match="(?i)auth"):
        PackageData(package, show_progress=False).get("dust.fits")


def test_what_a_folder_holds_becomes_registered(
    sshd: Any, home: Path, tmp_path: Path, command: Callable[..., Result]
) -> None:
    sshd.trust(home)
    (tmp_path / "www" / "maps").mkdir(parents=True)
    (tmp_path / "www" / "maps" / "dust.fits").write_bytes(DUST)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    done = command("add", tmp_path / "pkg", "--from", sshd.declared(tmp_path / "www"))
    assert done.exit_code == 0, done.stderr
    assert "1 added, mirror declared" in done.stdout


class TestAzureReading(HostContract):
    """Reading public blobs by HTTPS."""

    names: ClassVar = tuple(name for name in HostContract.names if not name.endswith(" "))

    @pytest.fixture(autouse=True)
    def server(self, azurite: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
        self.azurite, self.container = azurite, f"c{abs(hash(request.node.name)):x}"
        azurite.container(self.container)

    def serving(self, files: Mapping[str, bytes]) -> AbstractContextManager[Host]:
        from azure.storage.blob import ContainerClient

        @contextmanager
        def serve() -> Iterator[Host]:
            with ContainerClient.from_connection_string(self.azurite.connection, self.container) as client:
                for name, data in files.items():
                    client.upload_blob(f"v1/{name}", data)
            public = f"{self.azurite.url}{self.container}/v1/"
            yield FsspecHost(f"abfs://{self.container}/v1/?account_name=devstoreaccount1&public={public}")

        return serve()


class TestThroughFsspec(HostContract):
    """Any other protocol of fsspec: here its files in memory."""

    def test_urls_are_quoted(self) -> None:
        """They only name the place: no request is made of them."""

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[Host]:
        memory = fsspec.filesystem("memory")
        for name, data in files.items():
            memory.pipe_file(f"/published/v 1/{name}", data)
        yield FsspecHost("fsspec:memory://published/v 1/")
        memory.rm("/published", recursive=True)


class TestGoogleAtItsPublicAddress(HostContract):
    """What strangers are served by HTTPS; the protocol itself is not spoken."""

    place: ClassVar = "gs://bucket/v1/"

    def host_at(self, url: str) -> Host:
        return make_host(f"{self.place}?public={url}")


class TestGcsAtItsPublicAddress(TestGoogleAtItsPublicAddress):
    place = "gcs://bucket/v1/"


class TestHuggingFaceAtItsPublicAddress(TestGoogleAtItsPublicAddress):
    place = "hf://datasets/owner/repo/"


class TestFtpAtItsPublicAddress(TestGoogleAtItsPublicAddress):
    place = "ftp://host.example/data/"


class TestSmbAtItsPublicAddress(TestGoogleAtItsPublicAddress):
    place = "smb://host.example/share/"


def test_private_blobs_come_with_the_users_login(
    azurite: Any, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.storage.blob import ContainerClient

    azurite.container("private", public=False)
    with ContainerClient.from_connection_string(azurite.connection, "private") as client:
        client.upload_blob("v1/dust.fits", DUST)
    spec = f"abfs://private/v1/?account_name=devstoreaccount1&public={azurite.url}private/v1/"
    package = make_package({"dust.fits": DUST}, head=f'mirrors = ["{spec}"]')
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection)
    data = PackageData(package, show_progress=False)
    assert Path(data.get("dust.fits")).read_bytes() == DUST
    assert SimpleNamespace(source=data.arrivals["dust.fits"].source).source.startswith("abfs://")


@pytest.mark.parametrize(
    ("option", "evil"),
    [("account_host", "127.0.0.1:{port}"), ("account_name", "127.0.0.1:{port}/")],
)
def test_an_option_of_a_package_leads_no_login_elsewhere(
    option: str, evil: str, tmp_path: Path, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2024&sig=SECRETSAS")
    with RangeServer({}, tls="good") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca.pem))
        name = "" if option == "account_name" else "account_name=me&"
        spec = f"abfs://maps/v1/?{name}{option}={evil.format(port=server.port)}"
        package = make_package({"dust.fits": DUST}, head=f'mirrors = ["{spec}&public={server.url}"]')
        with pytest.raises(FileUnavailable, match=f"{option} in its declaration could lead a login to another server"):
            PackageData(package, show_progress=False).get("dust.fits")
        assert server.requests, "the public address is asked"
        assert not [request for request in server.requests if "SECRET" in str(request)]
        with pytest.raises(TransferError, match="could lead a login"):
            FsspecHost(spec).hosted(Settings())
        if option == "account_host":
            # in a process of its own, since aiohttp reads SSL_CERT_FILE only once
            program = (
                "from dataferry.hosts.fsspec import FsspecHost; from dataferry.config import Settings; import sys; "
                "FsspecHost(sys.argv[1]).publisher(Settings(), {}).check_rights()"
            )
            subprocess.run([sys.executable, "-c", program, spec], check=True, capture_output=True)
            assert [request for request in server.requests if "SECRET" in str(request)], "an author may name it"


@pytest.mark.parametrize(
    ("spec", "option"),
    [
        ("gs://bucket/?endpoint_url=https://evil.example", "endpoint_url"),
        ("hf://datasets/o/r/?endpoint=https://evil.example", "endpoint"),
        ("sftp://good.example/d/?host=evil.example", "host"),
        ("memory://folder/?depth=3", "depth"),
    ],
)
def test_options_that_lead_elsewhere(spec: str, option: str) -> None:
    prefix = "fsspec:" if spec.startswith("memory") else ""
    with pytest.raises(TransferError, match=f"{option} in its declaration could lead a login to another server"):
        make_host(prefix + spec).hosted(Settings())


class Recorded(MemoryFileSystem):  # type: ignore[misc]
    """An implementation that is installed, and of which dataferry knows nothing."""

    protocol = "recorded"
    made: ClassVar[list[Mapping[str, Any]]] = []

    def __init__(self, **options: Any) -> None:
        self.made.append(options)
        super().__init__(**options)


@pytest.mark.parametrize(
    "spec",
    [
        "fsspec:recorded://host.example:8786/x/?target_protocol=file",
        "fsspec:simplecache://x/?target_protocol=recorded&cache_storage={folder}&same_names=true",
        "fsspec:reference://x/?fo=recorded://x/evil.json&remote_protocol=recorded",
        "fsspec:memory://x/::recorded://x/",
        "fsspec:dask://host.example:8786/x/?target_protocol=recorded",
    ],
)
def test_a_package_chooses_no_code(spec: str, tmp_path: Path, make_package: Callable[..., str]) -> None:
    """Some implementations run what a server sends, or write where their options say: only the user chooses those."""
    fsspec.register_implementation("recorded", Recorded, clobber=True)
    Recorded.made.clear()
    folder = tmp_path / "chosen by the package"
    folder.mkdir()
    package = make_package({"dust.fits": DUST}, head=f'mirrors = ["{spec.format(folder=folder)}"]')
    with pytest.raises(FileUnavailable, match=r'a package may not choose .* fsspec_protocols = \["'):
        PackageData(package, show_progress=False).get("dust.fits")
    assert Recorded.made == []
    assert list(folder.iterdir()) == []


def test_the_user_allows_a_protocol(home: Path, make_package: Callable[..., str]) -> None:
    fsspec.register_implementation("recorded", Recorded, clobber=True)
    Recorded.made.clear()
    Recorded().pipe_file("recorded://place/dust.fits", DUST)
    config = home / ".config" / "dataferry" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('fsspec_protocols = ["recorded"]\n')
    package = make_package({"dust.fits": DUST}, head='mirrors = ["fsspec:recorded://place/?depth=3"]')
    assert Path(PackageData(package, show_progress=False).get("dust.fits")).read_bytes() == DUST
    assert Recorded.made[-1] == {"depth": 3}


class TestPublishBySftp(PublishContract):
    """An author with an SSH key, users who read the same folder by HTTP."""

    secret = ""

    @pytest.fixture(autouse=True)
    def server(self, sshd: Any, nginx: Callable[..., Any]) -> None:
        self.sshd, self.nginx = sshd, nginx

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        self.folder = folder
        self.sshd.trust(Path(os.environ["HOME"]))
        folder.chmod(0o755)
        yield f"{self.sshd.declared(folder / 'v1')}?public={self.nginx(folder).url}v1/"

    def writes(self) -> int:
        return sum(1 + path.stat().st_mtime_ns for path in self.folder.rglob("*"))


class TestPublishToAzure(PublishContract):
    """An author with a connection string, users who read a public container by HTTP."""

    secret = AZURITE_KEY

    @pytest.fixture(autouse=True)
    def server(self, azurite: Any, request: pytest.FixtureRequest) -> None:
        self.azurite, self.container = azurite, f"p{abs(hash(request.node.name)):x}"

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        self.azurite.container(self.container)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZURE_STORAGE_CONNECTION_STRING", self.azurite.connection)
            public = f"{self.azurite.url}{self.container}/v1/"
            yield f"abfs://{self.container}/v1/?account_name=devstoreaccount1&public={public}"

    def writes(self) -> int:
        from azure.storage.blob import ContainerClient

        with ContainerClient.from_connection_string(self.azurite.connection, self.container) as client:
            return sum(1 + int(blob.last_modified.timestamp()) for blob in client.list_blobs())

    def test_a_wrong_key_is_refused_with_the_first_file(self, author: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fsspec has no question that would show it before."""
        wrong = self.azurite.connection.replace(AZURITE_KEY, "d3Jvbmc=")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", wrong)
        with pytest.raises(DataferryError) as caught:
            author.publish({"plain.fits": b"data" * 100, "other.fits": b"more" * 100})
        assert all(isinstance(error, AccessDenied) for error in caught.value.exceptions)
        assert self.writes() == 0
        assert not author.registry.exists()


def test_a_container_that_is_not_there_is_found_by_the_dry_run(
    azurite: Any, home: Path, tmp_path: Path, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection)
    source = tmp_path / "dust.fits"
    source.write_bytes(b"dust")
    (tmp_path / "dataferry.toml").touch()
    words = ["publish", str(source), "--dry-run", "--package", str(tmp_path / "dataferry.toml"), "--to"]
    mistyped = command(*words, "abfs://mistyped/v1/?account_name=devstoreaccount1")
    assert mistyped.exit_code != 0
    assert "no container 'mistyped'" in mistyped.stderr and "az storage container create" in mistyped.stderr
    unnamed = command(*words, "abfs://mistyped/v1/")
    assert unnamed.exit_code != 0
    assert "which storage account" in unnamed.stderr and "account_name=" in unnamed.stderr


def test_a_user_in_the_declaration_is_found_by_the_dry_run(
    sshd: Any, home: Path, tmp_path: Path, command: Callable[..., Result]
) -> None:
    sshd.trust(home)
    (tmp_path / "dust.fits").write_bytes(DUST)
    (tmp_path / "www").mkdir()
    (tmp_path / "dataferry.toml").touch()
    to = sshd.declared(tmp_path / "www").replace("//", "//ann@", 1)
    words = ["publish", tmp_path / "dust.fits", "--to", to, "--package", tmp_path / "dataferry.toml", "--dry-run"]
    done = command(*words)
    assert done.exit_code != 0
    assert 'a login belongs to [hosts."127.0.0.1"] of config.toml' in done.stderr
    assert list((tmp_path / "www").iterdir()) == []


def test_a_damaged_copy_is_replaced_on_demand(sshd: Any, home: Path, tmp_path: Path) -> None:
    from dataferry.publish import publish

    sshd.trust(home)
    www, source = tmp_path / "www", tmp_path / "dust.fits"
    www.mkdir()
    source.write_bytes(DUST)
    to, registry = sshd.declared(www), tmp_path / "dataferry.toml"
    publish({"dust.fits": source}, to, registry, progress=False)
    (www / "dust.fits").write_bytes(DUST[:1000])
    publish({"dust.fits": source}, to, registry, progress=False, repair=True)
    assert (www / "dust.fits").read_bytes() == DUST


@pytest.mark.timeout(60)
def test_known_hosts_that_is_a_fifo_is_not_waited_for(
    home: Path, tmp_path: Path, command: Callable[..., Result]
) -> None:
    (home / ".ssh").mkdir()
    os.mkfifo(home / ".ssh" / "known_hosts")
    (tmp_path / "dust.fits").write_bytes(DUST)
    words = [
        "publish",
        tmp_path / "dust.fits",
        "--to",
        "sftp://127.0.0.1:9/x/",
        "--package",
        tmp_path / "dataferry.toml",
    ]
    assert "Unable to connect" in command(*words).stderr


def test_a_damaged_copy_of_the_same_size_is_found_and_the_command_repairs_it(
    sshd: Any, home: Path, tmp_path: Path, command: Callable[..., Result]
) -> None:
    sshd.trust(home)
    www, registry, source = tmp_path / "www", tmp_path / "dataferry.toml", tmp_path / "dust.fits"
    www.mkdir()
    source.write_bytes(DUST)
    publish = ["publish", source, "--to", sshd.declared(www), "--package", registry]
    assert command(*publish).exit_code == 0
    (www / "dust.fits").write_bytes(DUST[::-1])
    again = command(*publish)
    assert (again.exit_code, again.stdout[:1]) == (0, "=")
    assert "note: 1 there already by size alone, as the host gives no digest; --repair compares" in again.stderr
    done = command("check", "mypkg", "--registry", registry)
    assert done.exit_code == 1
    line = next(line for line in done.stderr.splitlines() if "dataferry publish" in line)
    words = shlex.split(line.partition(", run: dataferry ")[2])
    assert words[-1] == "--repair"
    assert command(*words, source).exit_code == 0
    assert (www / "dust.fits").read_bytes() == DUST
    assert command("check", "mypkg", "--registry", registry).exit_code == 0


def test_a_store_without_anonymous_access_is_remarked_on(
    sshd: Any, home: Path, tmp_path: Path, command: Callable[..., Result]
) -> None:
    """The proof needs a login there, and so does every user."""
    sshd.trust(home)
    (tmp_path / "dust.fits").write_bytes(DUST)
    (tmp_path / "www").mkdir()
    (tmp_path / "dataferry.toml").touch()
    to = sshd.declared(tmp_path / "www")
    done = command("publish", tmp_path / "dust.fits", "--to", to, "--package", tmp_path / "dataferry.toml", "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "sftp has no anonymous access" in done.stdout + done.stderr


@pytest.mark.parametrize("verb", ["publish", "get"])
def test_a_connection_that_is_reset_is_one_error(
    verb: str,
    sshd: Any,
    home: Path,
    tmp_path: Path,
    counted_link: Callable[[str], Any],
    make_package: Callable[..., str],
) -> None:
    """The library's threads would print tracebacks of their own."""
    link = counted_link(f"http://127.0.0.1:{sshd.daemon.port}")
    port = link.url.rpartition(":")[2]
    sshd.trust(home)
    known = home / ".ssh" / "known_hosts"
    known.write_text(known.read_text() + known.read_text().replace(str(sshd.daemon.port), port))
    www, large = tmp_path / "www", os.urandom(20_000_000)
    www.mkdir()
    (www if verb == "get" else tmp_path).joinpath("dust.fits").write_bytes(large)
    spec = sshd.declared(www).replace(str(sshd.daemon.port), port)
    if verb == "get":
        package = make_package({"dust.fits": large}, head=f'mirrors = ["{spec}"]')
        above = next(entry for entry in sys.path if (Path(entry) / package).is_dir())
        words, count = ["get", package, "dust.fits", "--deadline", "5"], 12_000
    else:
        (tmp_path / "dataferry.toml").touch()
        words, count, above = ["publish", tmp_path / "dust.fits", "--to", spec, "--package"], 5_000_000, str(tmp_path)
        words.append(tmp_path / "dataferry.toml")
    link.cut_after(count)
    env = {**os.environ, "PYTHONPATH": above}
    words = [sys.executable, "-m", "dataferry", *map(str, words)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert link.cut
    assert "Traceback" not in done.stderr
    assert "Exception in thread" not in done.stderr and "Exception ignored" not in done.stderr


class FtpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True  # nobody waits for connections that a client keeps
    block_on_close = False


class RefusingFtp(socketserver.StreamRequestHandler):
    """Asks who it is, and lets nobody in."""

    users: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 hello\r\n")
        while line := self.rfile.readline().decode().strip():
            word, _, rest = line.partition(" ")
            if word == "USER":
                self.users.append(rest)
            answers = {"USER": "331 and the password?", "PASS": "530 not you", "QUIT": "221 bye"}
            self.wfile.write(f"{answers.get(word, '502 unknown')}\r\n".encode())


def test_ftp_is_asked_without_a_login_first_and_the_proof_has_none(
    home: Path, tmp_path: Path, make_package: Callable[..., str]
) -> None:
    RefusingFtp.users.clear()
    with FtpServer(("127.0.0.1", 0), RefusingFtp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_address[1]}"
        config = home / ".config" / "dataferry" / "config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(f'[hosts."{place}"]\nuser = "ann"\npassword = "s3cret"\n')
        package = make_package({"dust.fits": DUST}, head=f'mirrors = ["ftp://{place}/data/"]')
        with pytest.raises(FileUnavailable, match="not you") as caught:
            PackageData(package, show_progress=False).get("dust.fits")
        assert "s3cret" not in str(caught.value)
        assert list(dict.fromkeys(RefusingFtp.users)) == ["anonymous", "ann"]
        RefusingFtp.users.clear()
        assert list(check(PackageData(package, show_progress=False)))
        assert set(RefusingFtp.users) == {"anonymous"}
        server.shutdown()


class Stalling(Recorded):
    """An implementation without a timeout: where a test says so, it never answers."""

    protocol = "stalling"
    phase: ClassVar[str] = ""

    def _open(self, *args: Any, **options: Any) -> Any:
        if self.phase == "open":
            threading.Event().wait()
        file = super()._open(*args, **options)
        if self.phase == "read":
            file.read = lambda *_: threading.Event().wait()
        return file

    def find(self, *args: Any, **options: Any) -> Any:
        if self.phase == "list":
            threading.Event().wait()
        return super().find(*args, **options)


@pytest.fixture
def stalling(home: Path) -> Iterator[type[Stalling]]:
    fsspec.register_implementation("stalling", Stalling, clobber=True)
    Stalling().pipe_file("stalling://place/dust.fits", DUST)
    config = home / ".config" / "dataferry" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('fsspec_protocols = ["stalling"]\n')
    yield Stalling
    Stalling.phase = ""


@pytest.mark.parametrize("phase", ["open", "read"])
def test_a_library_that_never_answers_loses_to_the_next_mirror(
    phase: str, stalling: type[Stalling], make_package: Callable[..., str]
) -> None:
    stalling.phase = phase
    alone = make_package({"dust.fits": DUST}, head='mirrors = ["fsspec:stalling://place/"]\ntimeout = 1')
    with pytest.raises(FileUnavailable, match="stalling://place"):
        PackageData(alone, show_progress=False).get("dust.fits")
    with RangeServer({"dust.fits": DUST}) as good:
        mirrors = f'mirrors = ["fsspec:stalling://place/", "{good.url}"]\ntimeout = 1'
        both = make_package({"dust.fits": DUST}, head=mirrors)
        assert Path(PackageData(both, show_progress=False).get("dust.fits")).read_bytes() == DUST


def test_the_deadline_holds_for_a_library_that_never_answers(
    stalling: type[Stalling], make_package: Callable[..., str]
) -> None:
    stalling.phase = "read"
    package = make_package({"dust.fits": DUST}, head='mirrors = ["fsspec:stalling://place/"]\ntimeout = 600')
    with pytest.raises(FileUnavailable, match="deadline"):
        PackageData(package, show_progress=False).get("dust.fits", deadline=0.5)


def test_a_list_that_never_comes_is_an_error(stalling: type[Stalling]) -> None:
    host = FsspecHost("fsspec:stalling://place/")
    host.answer_within = 0.5
    assert list(host.hosted(Settings(fsspec_protocols=["stalling"]))) == ["dust.fits"]
    stalling.phase = "list"
    with pytest.raises(TransferError, match=r"no answer within 0\.5 s"):
        host.hosted(Settings(fsspec_protocols=["stalling"]))
    stalling.phase = ""
    assert list(host.hosted(Settings(fsspec_protocols=["stalling"]))) == ["dust.fits"]


def test_an_sshd_that_is_stopped_loses_to_the_next_mirror(
    sshd: Any, home: Path, tmp_path: Path, make_package: Callable[..., str]
) -> None:
    sshd.trust(home)
    with RangeServer({"dust.fits": DUST}) as good:
        mirrors = f'mirrors = ["{sshd.declared(tmp_path)}", "{good.url}"]\ntimeout = 1'
        package = make_package({"dust.fits": DUST}, head=mirrors)
        sshd.daemon.process.send_signal(signal.SIGSTOP)
        try:
            assert Path(PackageData(package, show_progress=False).get("dust.fits")).read_bytes() == DUST
        finally:
            sshd.daemon.process.send_signal(signal.SIGCONT)


def test_a_cut_upload_by_sftp_goes_on_where_it_was(sshd: Any, home: Path, tmp_path: Path) -> None:
    from dataferry.publish import publish

    sshd.trust(home)
    data = os.urandom(5_000_000)
    (tmp_path / "dust.fits").write_bytes(data)
    www = tmp_path / "www"
    www.mkdir()
    digest = hashlib.sha256(data).hexdigest()
    (www / f".dataferry-{digest[:16]}-dust.fits").write_bytes(data[:3_000_000])
    before = os.stat(www / f".dataferry-{digest[:16]}-dust.fits").st_ino
    publish({"dust.fits": tmp_path / "dust.fits"}, sshd.declared(www), tmp_path / "dataferry.toml", progress=False)
    assert (www / "dust.fits").read_bytes() == data
    assert os.stat(www / "dust.fits").st_ino == before, "it began anew"
    assert [path.name for path in www.iterdir()] == ["dust.fits"]


def test_an_upload_by_sftp_does_not_wait_for_each_answer(
    sshd: Any, home: Path, tmp_path: Path, counted_link: Callable[[str], Any]
) -> None:
    """A megabyte goes before the first answer to a write comes; paramiko by itself waits after 32 KiB."""
    from dataferry.publish import publish

    sshd.trust(home)
    link = counted_link(f"sftp://127.0.0.1:{sshd.daemon.port}")
    known = home / ".ssh" / "known_hosts"
    known.write_text(known.read_text() + known.read_text().replace(str(sshd.daemon.port), link.url.rpartition(":")[2]))
    link.hold_answers(200_000, 1_000_000)
    data = os.urandom(3_000_000)
    (tmp_path / "dust.fits").write_bytes(data)
    www = tmp_path / "www"
    www.mkdir()
    publish({"dust.fits": tmp_path / "dust.fits"}, f"{link.url}{www}/", tmp_path / "dataferry.toml", progress=False)
    assert (www / "dust.fits").read_bytes() == data


def test_a_missing_library_comes_before_a_missing_login(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataferry.errors import MissingExtra

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "gcsfs" else object())
    with pytest.raises(MissingExtra, match=r"this needs gcsfs for gs://.*pip install 'dataferry\[fsspec\]' gcsfs"):
        make_host("gs://bucket/v1/").publisher(Settings(), {}).check_rights()
