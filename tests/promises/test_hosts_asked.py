"""Hosts that have to be asked where a file is, and packages whose only hosts are such."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from dataferry import PackageData
from dataferry.errors import FileUnavailable, UnknownFile
from dataferry.testing import NeverAnswers, RangeServer, Status

DUST, BEAM = b"dust" * 700, b"beam" * 900

HOST = """
    from dataferry.errors import TransferError
    from dataferry.hosts.base import Host, Source

    class CardIndex(Host):
        '''Knows where files are only after it was asked.'''

        def sources(self, name, entry):
            return ()

        def look_up(self, wanted, settings):
            import urllib.request

            url = self.spec.partition(":")[2]
            try:
                with urllib.request.urlopen(url + "index", timeout=5) as answer:
                    lines = answer.read().decode().split()
            except OSError as error:
                raise TransferError(url, str(error)) from error
            index = dict(line.split("=") for line in lines)
            return {name: [Source(url + index[name], self.redacted)] for name in wanted if name in index}
"""


@pytest.fixture
def card_index(install_host: Callable[..., object]) -> None:
    """A host that has an index of its files."""
    install_host("cards", "CardIndex", HOST)


def requests_for(server: RangeServer, part: str) -> int:
    return sum(part in request.path for request in server.requests)


@pytest.mark.usefixtures("card_index")
def test_a_package_without_dataurl_gets_its_files_from_a_host_that_was_asked(make_package: Callable[..., str]) -> None:
    files = {"index": b"maps/dust.fits=17\nbeam.fits=18\n", "17": DUST, "18": BEAM}
    with RangeServer(files) as server:
        package = make_package({"maps/dust.fits": DUST, "beam.fits": BEAM}, head=f'mirrors = ["cards:{server.url}"]')
        data = PackageData(package, show_progress=False)
        paths = data.fetch(["maps/dust.fits", "beam.fits"])
        assert [Path(path).read_bytes() for path in paths] == [DUST, BEAM]
        assert Path(paths[0]).name == "dust.fits"
        assert requests_for(server, "index") == 1
        PackageData(package).get("maps/dust.fits")
        assert requests_for(server, "index") == 1, "a cached file is not asked for again"
    assert "verified earlier" in str(data.where("maps/dust.fits"))


@pytest.mark.usefixtures("card_index")
def test_it_is_asked_only_for_what_other_hosts_did_not_give(make_package: Callable[..., str]) -> None:
    with RangeServer({"dust.fits": DUST}) as plain, RangeServer({"index": b"beam.fits=9\n", "9": BEAM}) as cards:
        head = f'dataurl = "{plain.url}"\nmirrors = ["cards:{cards.url}"]'
        package = make_package({"dust.fits": DUST, "beam.fits": BEAM}, head=head)
        data = PackageData(package, show_progress=False)
        data.get("dust.fits")
        assert cards.requests == []
        assert Path(data.get("beam.fits")).read_bytes() == BEAM
        assert requests_for(plain, "beam.fits") >= 1


@pytest.mark.usefixtures("card_index")
def test_the_error_names_the_host_that_could_not_say(make_package: Callable[..., str]) -> None:
    with RangeServer({}) as server:
        package = make_package({"dust.fits": DUST}, head=f'mirrors = ["cards:{server.url}"]')
        with pytest.raises(FileUnavailable, match="HTTP Error 404") as caught:
            PackageData(package, show_progress=False).get("dust.fits")
    assert any(place == f"host cards:{server.url}" for place, _ in caught.value.tried)
    with pytest.raises(UnknownFile, match="not registered"):
        PackageData(package, show_progress=False).get("other.fits")


@pytest.mark.usefixtures("card_index")
def test_wrong_bytes_of_such_a_host_are_refused(
    make_package: Callable[..., str], command: Callable[..., Result]
) -> None:
    with RangeServer({"index": b"dust.fits=1\n", "1": BEAM}) as server:
        package = make_package({"dust.fits": DUST}, head=f'mirrors = ["cards:{server.url}"]')
        done = command("get", package, "dust.fits")
    assert done.exit_code == 1
    assert "3600 bytes there, 2800 are registered" in done.stderr
    assert hashlib.sha256(BEAM).hexdigest() not in done.stdout


@pytest.mark.usefixtures("card_index")
def test_a_host_that_hangs_is_not_waited_for_after_the_deadline(make_package: Callable[..., str]) -> None:
    with RangeServer({"index": b"dust.fits=1\n", "1": DUST}) as server:
        package = make_package({"dust.fits": DUST}, head=f'mirrors = ["cards:{server.url}"]')
        server.fault("index", NeverAnswers())
        with pytest.raises(FileUnavailable, match="the deadline of 1 s has passed") as caught:
            PackageData(package, show_progress=False).get("dust.fits", deadline=1)
        assert caught.value.failures[-1].kind == "deadline"
        server.heal()
        assert Path(PackageData(package, show_progress=False).get("dust.fits", deadline=60)).read_bytes() == DUST


#: What a provider may answer to any question, if its interface changes or something else answers in its place.
SHAPES = [b"{}", b"[]", b"null", b'"ok"', b'{"id": "a", "files": [1], "entries": [{}]}', b'[{"id": 1}]']
ASKED = [
    "inveniordm:{url}abcde-12345",
    "figshare:1?server={url}",
    "github-release:o/r@v1?server={url}",
    "git-lfs:{url}a.git",
    "cards:{url}",
]


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    """A server to which users show a token."""
    with RangeServer({}) as server:
        monkeypatch.setenv("GH_HOST", f"127.0.0.1:{server.port}")
        monkeypatch.setenv("GH_TOKEN", "t0ken")
        yield server


@pytest.mark.usefixtures("card_index")
@pytest.mark.parametrize("spec", ASKED, ids=[spec.partition(":")[0] for spec in ASKED])
@pytest.mark.parametrize("shape", SHAPES, ids=[shape.decode()[:12] for shape in SHAPES])
def test_an_answer_of_another_form_leaves_the_next_host(
    spec: str, shape: bytes, strange: RangeServer, make_package: Callable[..., str]
) -> None:
    line = spec.format(url=strange.url)
    strange.fault("*", Status(200, body=shape))
    with RangeServer({"index": b"dust.fits=1\n", "1": DUST}) as good:
        package = make_package({"dust.fits": DUST}, head=f'mirrors = ["{line}", "cards:{good.url}"]')
        assert Path(PackageData(package, show_progress=False).get("dust.fits")).read_bytes() == DUST
        assert strange.requests
    package = make_package({"beam.fits": BEAM}, head=f'mirrors = ["{line}"]')
    with pytest.raises(FileUnavailable) as caught:
        PackageData(package, show_progress=False).get("beam.fits")
    kind = spec.partition(":")[0]
    assert any(place.startswith(f"host {kind}:") and reason for place, reason in caught.value.tried)


@pytest.mark.parametrize("spec", ASKED[:3], ids=[spec.partition(":")[0] for spec in ASKED[:3]])
@pytest.mark.parametrize("shape", SHAPES, ids=[shape.decode()[:12] for shape in SHAPES])
def test_no_command_breaks_at_an_answer_of_another_form(
    spec: str,
    shape: bytes,
    strange: RangeServer,
    make_package: Callable[..., str],
    command: Callable[..., Result],
    tmp_path: Path,
) -> None:
    strange.fault("*", Status(200, body=shape))
    line = spec.format(url=strange.url)
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "__init__.py").touch()
    added = command("add", tmp_path / "mine", "--from", line)
    assert added.exit_code == 1
    kind = spec.partition(":")[0]
    assert f"{kind}:" in added.stderr or "127.0.0.1" in added.stderr
    checked = command("check", make_package({"dust.fits": DUST}, head=f'mirrors = ["{line}"]'))
    assert checked.exit_code == 1
    assert f"{kind}:" in checked.stdout + checked.stderr


def test_a_url_that_is_no_text_is_its_hosts_failure(make_package: Callable[..., str]) -> None:
    item = {"id": 1, "name": "dust.fits", "is_link_only": True, "download_url": ["https://host.example/dust.fits"]}
    files = {"articles/1": b'{"files": [1]}', "articles/1/files": json.dumps([item]).encode()}
    with RangeServer(files) as server:
        package = make_package({"dust.fits": DUST}, head=f'mirrors = ["figshare:1?server={server.url}"]')
        with pytest.raises(FileUnavailable, match="a URL is a text, and not list"):
            PackageData(package, show_progress=False).get("dust.fits")


#: The user's secrets, each for the provider's own server. The key of AWS would be in a signed URL.
SECRETS = [
    "FIGSHARE_TOKEN",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "INVENIORDM_TOKEN",
    "ZENODO_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_SAS_TOKEN",
    "HF_TOKEN",
]


@pytest.mark.parametrize(
    "spec",
    [
        "figshare:1?server={url}",
        "github-release:o/r@v1?server={url}",
        "inveniordm:{url}abcde-12345",
        "git-lfs:{url}a.git",
        "s3://bucket/?endpoint={url}&region=us-east-1",
        "abfs://maps/?account_name=me&account_host={host}&public={url}",
        "hf://datasets/o/r/?endpoint={url}&public={url}",
        "{url}data/",
    ],
    ids=lambda spec: spec.partition(":")[0],
)
def test_no_secret_goes_to_a_server_that_a_package_names(
    spec: str, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in SECRETS:
        monkeypatch.setenv(variable, f"s3cret-{variable}")
    (home / ".netrc").write_text("machine other.example login me password s3cret-netrc\n")
    with RangeServer({}) as server:
        line = spec.format(url=server.url, host=server.url.split("/")[2])
        package = make_package({"dust.fits": DUST}, head=f'mirrors = ["{line}"]')
        with pytest.raises(FileUnavailable) as caught:
            PackageData(package, show_progress=False).get("dust.fits")
        assert server.requests
        assert not [request for request in server.requests if "s3cret" in f"{request.path} {request.headers}"]
    assert "s3cret" not in str(caught.value)
