"""Zenodo and InvenioRDM, publishing: the same tests against a stand-in and, nightly, against the real server."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.inveniordm.people import (
    FILES,
    By,
    about,
    again,
    an_author,
    asked,
    line_of,
    locators,
    refused,
)

from dataferry.config import Settings, load_settings
from dataferry.errors import AccessDenied, Conflict, DataferryError, PublishError, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.base import Upload
from dataferry.hosts.inveniordm import InvenioPublisher
from dataferry.hosts.inveniordm_metadata import draft_body
from dataferry.testing import PublishContract
from dataferry.testing.author import Author

#: For faults that only the stand-in plays.
only_stand_in = pytest.mark.parametrize("rdm", ["stand-in"], indirect=True)


@pytest.fixture
def author(rdm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Author:
    return an_author(rdm, tmp_path, monkeypatch)


# -- publishing -------------------------------------------------------------------------------------------------------


class TestPublishInvenio(PublishContract):
    """To a draft that the author made on the page of the server."""

    rdm: Any

    @pytest.fixture(autouse=True)
    def _rdm(self, rdm: Any) -> None:
        self.rdm = rdm
        type(self).secret = rdm.tokens["ann"]

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INVENIORDM_TOKEN", self.rdm.tokens["ann"])
            yield f"inveniordm:{self.rdm.url}{By(self.rdm).draft()}"

    @contextmanager
    def _as(self, token: str) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INVENIORDM_TOKEN", token)
            yield

    def without_rights(self) -> Any:
        return self._as(self.rdm.tokens["bob"])

    def writes(self) -> int:
        return asked(self.rdm, "(POST|PUT|DELETE) ")


def test_a_new_record(rdm: Any, ann: By, author: Author) -> None:
    outcome = author.publish(FILES)
    assert all(file.proven for file in outcome.files)
    assert author.users_get(list(FILES)) == FILES
    [version] = set(locators(author).values())
    told = ann.ask("GET", f"records/{version}")
    assert line_of(author) == f"inveniordm:{rdm.url}{told['parent']['id']}"
    assert told["pids"]["doi"]["identifier"].endswith(version)
    metadata = told["metadata"]
    assert metadata["title"].startswith("Maps of the dust")
    assert metadata["description"] == "<p>Made for a test &amp; nothing else.</p><p>Second paragraph.</p>"
    first, second = (creator["person_or_org"] for creator in metadata["creators"])
    assert (first["family_name"], first["given_name"]) == ("Author", "Ann")
    assert (second["family_name"], second["identifiers"][0]["identifier"]) == ("Writer", "0000-0002-1825-0097")
    assert [right["id"] for right in metadata["rights"]] == ["cc-by-4.0"]
    assert [subject["subject"] for subject in metadata["subjects"]] == ["dust", "cosmology"]
    assert asked(rdm, r"POST \S+/actions/publish") == 1 or rdm.real
    assert outcome.files[0].sent


def test_the_same_command_again_makes_no_second_record(rdm: Any, author: Author) -> None:
    author.publish(FILES)
    before, text = asked(rdm, "(POST|PUT|DELETE) "), author.registry.read_text()
    assert not any(file.sent for file in author.publish(FILES).files)
    assert author.registry.read_text() == text
    with pytest.raises(Conflict, match=f"other files: {re.escape(line_of(author))}"):
        author.publish({**FILES, "more.dat": b"more"})
    assert asked(rdm, "(POST|PUT|DELETE) ") == before


def test_versions_are_whole_and_old_releases_keep_theirs(rdm: Any, author: Author) -> None:
    author.publish(FILES)
    old, first = author.registry.read_text(), locators(author)
    again(author)
    puts = asked(rdm, r"PUT \S+/content")
    changed = {"dust_064.fits": b"other" * 100, "more.dat": b"more"}
    with pytest.raises(Conflict, match="--new-version"):
        author.publish(changed)
    author.publish(changed, new_version=True)
    assert asked(rdm, r"PUT \S+/content") == puts + 2  # what did not change went with the version
    second = locators(author)
    assert second["dust_064.fits"] == second["more.dat"] != first["dust_064.fits"]
    hosted = make_host(f"inveniordm:{rdm.url}{second['more.dat']}").hosted(load_settings())
    assert set(hosted) == {*FILES, "more.dat"}
    author.registry.with_name("old.toml").write_text(old)
    assert author.users_get(list(FILES), author.registry.with_name("old.toml")) == FILES
    assert author.users_get([*FILES, "more.dat"]) == {**FILES, **changed}
    posts = asked(rdm, "(POST|PUT|DELETE) ")
    author.publish({**FILES, **changed}, new_version=True)  # nothing new: no version
    assert asked(rdm, "(POST|PUT|DELETE) ") == posts


def test_three_real_files_by_command(
    rdm: Any, author: Author, need: Any, command: Callable[..., Any], tmp_path: Path
) -> None:
    folder = Path(need.module("healpy").__file__).parent / "data"
    real = sorted(folder.glob("weight_ring_n0*.fits"))[:3]
    assert len(real) == 3
    done = command("publish", *real, "--to", author.spec, "--package", author.registry)
    assert done.exit_code == 0, done.output
    assert rdm.tokens["ann"] not in done.output
    names = [path.name for path in real]
    assert sorted(locators(author)) == sorted(names)
    assert author.users_get(names) == {path.name: path.read_bytes() for path in real}


def test_a_license_that_the_server_does_not_list(ann: By, author: Author) -> None:
    author.registry.write_text(about().replace("CC-BY-4.0", "My own license"))
    author.publish({"a.dat": b"a"})
    told = ann.ask("GET", f"records/{locators(author)['a.dat']}")
    assert told["metadata"]["rights"] == [{"title": {"en": "My own license"}}]


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ("", "title and authors"),
        ('[about]\ntitle = "Dust"\n', "authors"),
        ('[about]\ntitle = "Du"\nauthors = ["Ann"]\n', "less than 3 characters"),
        ('[about]\ntitle = "Dust"\nauthors = [7]\n', "7 in \\[about\\] is no author"),
    ],
)
def test_what_a_record_must_say(rdm: Any, author: Author, about: str, says: str) -> None:
    author.registry.write_text(about)
    before = asked(rdm, "(POST|PUT|DELETE) ")
    with pytest.raises(PublishError, match=says):
        author.publish({"a.dat": b"a"})
    assert asked(rdm, "(POST|PUT|DELETE) ") == before
    assert author.registry.read_text() == about


def test_a_wrong_token(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENIORDM_TOKEN", "wrong")
    with pytest.raises(AccessDenied, match="account/settings/applications"):
        author.publish({"a.dat": b"a"})


def test_records_of_others_deleted_and_restricted_ones(rdm: Any, ann: By, author: Author) -> None:
    theirs, _ = By(rdm, "bob").record({"b.dat": b"b"})
    closed, _ = ann.record({"a.dat": b"a"}, access={"record": "public", "files": "restricted"})
    gone, _ = ann.record({"a.dat": b"a"})
    rdm.delete(gone)
    before = asked(rdm, "(POST|PUT|DELETE) /api")
    for record, error, says in (
        (theirs, AccessDenied, "somebody else's"),
        (By(rdm, "bob").draft(), AccessDenied, "not yours"),
        (closed, PublishError, "files of this record are restricted"),
        (gone, PublishError, "was deleted"),
        ("zzzzz-99999", PublishError, "there is no record"),
    ):
        author.spec = f"inveniordm:{rdm.url}{record}"
        with pytest.raises(error, match=says):
            author.publish({"a.dat": b"a"})
    assert asked(rdm, "(POST|PUT|DELETE) /api") == before + 1  # bob's draft


def test_too_large_too_many_and_hidden_names(rdm: Any, author: Author) -> None:
    with pytest.raises(PublishError, match="container"):
        author.publish({"a/container/b.dat": b"b"})
    with pytest.raises(PublishError, match="(Maximum file size|quota) exceeded"):
        author.publish({"big.dat": b"x" * 5_000_000})
    assert locators(author) == {}
    with pytest.raises(PublishError, match="exceeding the max amount"):
        author.publish({f"{n:03}.dat": b"%d" % n for n in range(101)})
    author.publish({"a.dat": b"a"})  # the same draft, without what did not fit
    hosted = make_host(line_of(author)).hosted(load_settings())
    assert set(hosted) == {"a.dat"}


def test_limits_of_zenodo(tmp_path: Path) -> None:
    new, old = (make_host(spec).publisher(Settings(), {}) for spec in ("zenodo:new", "zenodo:1"))
    assert (new.limits.total_bytes, new.limits.files, old.limits.total_bytes) == (50 * 10**9, 100, 200 * 10**9)
    assert make_host("inveniordm:https://rdm.example.org/new").publisher(Settings(), {}).limits.files is None


def test_a_draft_with_somebodys_other_file(rdm: Any, ann: By, author: Author) -> None:
    author.publish({"a.dat": b"a1"})
    again(author)
    draft = str(ann.ask("POST", f"records/{locators(author)['a.dat']}/versions")["id"])
    ann.put(draft, {"b.dat": b"by hand"})
    with pytest.raises(Conflict, match=f"uploads/{draft}"):
        author.publish({"b.dat": b"by dataferry"})
    ann.ask("DELETE", f"records/{draft}/draft/files/b.dat")
    author.publish({"b.dat": b"by dataferry"})
    assert author.users_get(["a.dat", "b.dat"]) == {"a.dat": b"a1", "b.dat": b"by dataferry"}


def test_an_author_changes_a_file_between_two_tries(rdm: Any, author: Author) -> None:
    with refused("exceeded"):
        author.publish({"a.dat": b"first", "gone.dat": b"gone", "big.dat": b"x" * 5_000_000})
    author.publish({"a.dat": b"second", "big.dat": b"small"})
    assert author.users_get(["a.dat", "big.dat"]) == {"a.dat": b"second", "big.dat": b"small"}
    hosted = make_host(line_of(author)).hosted(load_settings())
    assert set(hosted) == {"a.dat", "big.dat"}  # what the first try brought and the second had not is not public


def test_two_authors_at_once(rdm: Any, author: Author, tmp_path: Path) -> None:
    """Who is second finds the draft filled or gone, gets an error or the next version; nothing is mixed up."""
    author.publish({"a.dat": b"a"})
    spec = line_of(author)
    host = make_host(spec)
    publishers = [host.publisher(load_settings(), {}) for _ in range(2)]
    uploads = []
    for n in range(2):
        path = tmp_path / f"same{n}"
        path.write_bytes(data := f"of author {n}".encode())
        digests = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
        uploads.append(Upload("same.dat", path, len(data), *digests))
    notes: list[dict[str, Any]] = [{}, {}]
    for publisher, upload, note in zip(publishers, uploads, notes, strict=True):
        publisher.check_rights()
        assert publisher.hosted([upload]) == {}
        publisher.begin([upload], note)
    publishers[0].upload(uploads[0], {}, lambda _: None)

    def go_on() -> None:
        publishers[1].upload(uploads[1], {}, lambda _: None)
        publishers[1].finish([uploads[1]], notes[1])
        publishers[0].finish([uploads[0]], notes[0])

    with pytest.raises((Conflict, PublishError)):
        go_on()
    hosted = host.hosted(load_settings())
    assert hosted.keys() <= {"a.dat", "same.dat"}
    if "same.dat" in hosted:
        assert hosted["same.dat"].md5 in {upload.md5 for upload in uploads}


# -- killed, cut, refused for a while ----------------------------------------------------------------------------------


#: A text, since the other process cannot import this file.
RUN = """
import os
from dataferry.publish import publish
os.environ.clear()
os.environ.update(environ)
publish(files, spec, registry, progress=False)
"""


class Process:
    """An author in a process of its own, who may be killed."""

    def __init__(self, author: Author, files: Mapping[str, bytes]) -> None:
        self.author = author
        folder = author.folder / "files"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        context = multiprocessing.get_context("forkserver")
        # what each would load: a process then starts at once
        context.set_forkserver_preload(["dataferry.publish", "dataferry.hosts.inveniordm", "astropy.utils.data"])
        paths = {name: str(folder / name) for name in files}
        given = {"files": paths, "spec": author.spec, "registry": str(author.registry), "environ": dict(os.environ)}
        self.process = context.Process(target=exec, args=(RUN, given))

    def start(self) -> None:
        self.process.start()

    def kill(self) -> None:
        os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join()


def check_one_version(rdm: Any, author: Author, files: Mapping[str, bytes]) -> None:
    """What has to hold after the run that came through."""
    assert author.users_get(list(files)) == files
    [version] = set(locators(author).values())
    hosted = make_host(f"inveniordm:{rdm.url}{version}").hosted(load_settings())
    assert {name: told.md5 for name, told in hosted.items()} == {
        name: hashlib.md5(data).hexdigest() for name, data in files.items()
    }


@pytest.mark.parametrize(
    ("when", "steps"),
    [
        ("before", range(0, 40, 2)),
        ("after", range(1, 40, 2)),
        pytest.param("before", range(1, 40, 2), marks=pytest.mark.nightly),
        pytest.param("after", range(0, 40, 2), marks=pytest.mark.nightly),
    ],
)
@only_stand_in
def test_killed_at_every_request(
    rdm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, steps: range
) -> None:
    """At each request that changes something, before the server does it or before it answers."""
    monkeypatch.setenv("INVENIORDM_TOKEN", rdm.tokens["ann"])
    stranger = dict(os.environ)
    done = False
    for step in steps:
        author = Author(f"inveniordm:{rdm.url}new", tmp_path / f"{when}{step}", stranger)
        author.registry.parent.mkdir(parents=True)
        author.registry.write_text(about())
        first = Process(author, FILES)
        start = len(rdm.log)
        # all that came before the step goes on, the step itself kills
        rdm.faults.clear()
        if step:
            rdm.fault("^(POST|PUT|DELETE) ", left=step)
        how = {"before": first.kill, "cut": 1 << 20} if when == "before" else {"after": first.kill}
        rdm.fault("^(POST|PUT|DELETE) ", **how)
        first.start()
        first.process.join(120)
        if done := rdm.faults[-1].left == 1:
            assert first.process.exitcode == 0
            break
        rdm.faults.clear()
        again = Process(author, FILES)
        again.start()
        again.process.join(120)
        assert again.process.exitcode == 0, f"step {step}"
        check_one_version(rdm, author, FILES)
        lines = [line for line in rdm.log[start:] if int(line.split()[-1]) < 400]
        assert sum("/actions/publish" in line for line in lines) == 1, f"step {step}: {lines}"
        # of two that were on their way at once the server may have had less than all bytes
        sent = [line for line in lines if line.startswith("PUT") and "/content" in line]
        assert len(sent) <= len(FILES) + 2, f"step {step}: {lines}"
        made = sum(line.startswith("POST /api/records ") for line in lines)
        assert made == 1, f"step {step}: {made} records were made"
    assert done


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_killed_at_random(rdm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENIORDM_TOKEN", rdm.tokens["ann"])
    stranger = dict(os.environ)
    chance = random.Random(64)
    longest = 1.2 if rdm.real else 0.25
    for number in range(12 if rdm.real else 40):
        author = Author(f"inveniordm:{rdm.url}new", tmp_path / str(number), stranger)
        author.registry.parent.mkdir(parents=True)
        author.registry.write_text(about())
        start, kills = len(rdm.lines()), 0
        while True:
            run = Process(author, FILES)
            run.start()
            run.process.join(chance.uniform(0.0, longest * (1 + kills)))
            if run.process.exitcode is None:
                run.kill()
                kills += 1
                continue
            assert run.process.exitcode == 0
            break
        check_one_version(rdm, author, FILES)
        lines = rdm.lines()[start:]
        assert sum("/actions/publish 202" in line for line in lines) == 1
        sent = sum(line.startswith("PUT") and "/content 200" in line for line in lines)
        assert sent <= len(FILES) + kills
        print(f"\nkilled {kills} times, {sent} files sent, {len(lines)} requests")  # noqa: T201


@pytest.mark.parametrize(
    "pattern",
    [
        "GET /api/user/records",
        "POST /api/records ?$",
        r"POST \S+/pids/doi",
        r"PUT \S+/draft$",
        r"POST \S+/draft/files$",
        r"PUT \S+/content",
        r"POST \S+/commit",
        r"GET \S+/draft/files$",
        r"POST \S+/actions/publish",
        r"GET \S+/files$",
    ],
)
@pytest.mark.parametrize("how", ["lost", "cut"])
@only_stand_in
def test_a_connection_that_breaks(
    rdm: Any, author: Author, monkeypatch: pytest.MonkeyPatch, pattern: str, how: str
) -> None:
    """Once at each kind of request: either this run or the next one goes through, and nothing is there twice."""
    monkeypatch.setattr(InvenioPublisher, "patience", (0.0, 0.2))
    rdm.fault(pattern, **({"lost": True} if how == "lost" else {"cut": 100}))
    try:
        author.publish(FILES)
    except DataferryError:
        author.publish(FILES)
    check_one_version(rdm, author, FILES)
    assert asked(rdm, r"POST \S+/actions/publish") == 1


@only_stand_in
def test_a_publish_that_a_proxy_gave_up_on(rdm: Any, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    rdm.fault(r"POST \S+/actions/publish", status=504)
    monkeypatch.setattr(InvenioPublisher, "patience", (0.0, 0.2))
    with pytest.raises((PublishError, TransferError), match="504"):
        author.publish(FILES)
    author.publish(FILES)
    check_one_version(rdm, author, FILES)


@only_stand_in
def test_bytes_that_change_on_the_way(rdm: Any, author: Author) -> None:

    def spoil() -> None:
        for record in rdm.records.values():
            for file in record.files.values():
                file.data = b"spoiled"

    rdm.fault(r"POST \S+/dust_064.fits/commit", before=spoil)
    with refused("other bytes arrived"):
        author.publish(FILES)
    assert not any(record.published for record in rdm.records.values())
    author.publish(FILES)
    check_one_version(rdm, author, FILES)


@only_stand_in
def test_a_draft_that_changes_before_it_is_published(rdm: Any, author: Author) -> None:

    def lose() -> None:
        for record in rdm.records.values():
            record.files.pop("dust_064.fits", None)

    rdm.fault(r"GET \S+/draft/files$", left=1)
    rdm.fault(r"GET \S+/draft/files$", before=lose)
    with pytest.raises(Conflict, match="dust_064.fits"):
        author.publish(FILES)
    assert not any(record.published for record in rdm.records.values())
    author.publish(FILES)
    check_one_version(rdm, author, FILES)


@only_stand_in
def test_rate_limits_are_waited_for(rdm: Any, author: Author) -> None:
    files = {f"{n:02}.dat": b"%d" % n for n in range(10)}
    rdm.limit = 15, 2.0
    began = time.monotonic()
    author.publish(files)
    took = time.monotonic() - began
    rdm.limit = None
    refused = sum(line.endswith(" 429") for line in rdm.log)
    assert took > 2.0
    assert refused <= len(rdm.log) // 4
    check_one_version(rdm, author, files)


@only_stand_in
def test_a_server_without_folders(rdm: Any, author: Author) -> None:
    rdm.folders = False
    with pytest.raises(PublishError, match="no folders in names"):
        author.publish({"maps/a.dat": b"a"})


@only_stand_in
def test_a_server_without_dois(rdm: Any, author: Author) -> None:
    rdm.dois = False
    author.publish(FILES)
    check_one_version(rdm, author, FILES)


@only_stand_in
def test_a_draft_that_was_made_and_not_noted(rdm: Any, author: Author) -> None:
    rdm.fault("POST /api/records$", lost=True)
    with pytest.raises(TransferError):
        author.publish(FILES)
    author.publish(FILES)
    assert len(rdm.records) == 1


def test_the_about_table_becomes_the_metadata() -> None:
    body = draft_body({"authors": [{"name": "A Team", "type": "organization"}, "Ann"]}, {}, "", "Here")
    assert body["metadata"]["creators"] == [
        {"person_or_org": {"type": "organizational", "name": "A Team"}},
        {"person_or_org": {"type": "personal", "family_name": "Ann"}},
    ]
    before = {
        "metadata": {"resource_type": {"id": "image", "title": {"en": "Image"}}, "publication_date": "2020-01-01"},
        "access": {"record": "public", "files": "public", "status": "open"},
        "pids": {"doi": {"identifier": "10.5072/1"}},
    }
    body = draft_body({"description": "Has <b>tags</b>"}, before, "", "Here")
    assert body["metadata"]["resource_type"] == {"id": "image"}
    assert body["metadata"]["publication_date"] > "2026-01-01"
    assert body["metadata"]["description"] == "Has <b>tags</b>"
    assert body["pids"] == before["pids"]
    assert body["access"] == {"record": "public", "files": "public"}
