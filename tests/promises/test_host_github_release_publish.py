"""Publishing to releases on GitHub: rights, drafts, cuts, two authors, limits."""

from __future__ import annotations

import hashlib
import io
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dataferry import PackageData
from dataferry.config import load_settings
from dataferry.errors import AccessDenied, Conflict, DataferryError, PublishError, PublishErrors, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.github_release import GitHubReleasePublisher
from dataferry.publish import publish
from dataferry.registry import Registry
from dataferry.testing import PublishContract

DUST, BEAM = b"dust" * 700, b"beam" * 900


@pytest.fixture
def author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Publishes files that are given as bytes."""
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_ann")

    def run(spec: str, files: Mapping[str, bytes], registry: str = "dataferry.toml", **options: Any) -> Any:
        paths = {}
        for name, data in files.items():
            path = tmp_path / "files" / hashlib.sha256(name.encode() + data).hexdigest()
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                path.write_bytes(data)
            paths[name] = path
        return publish(paths, spec, tmp_path / registry, progress=False, **options)

    return run


class TestPublishing(PublishContract):
    secret = "ghp_ann"

    @pytest.fixture(autouse=True)
    def _server(self, github: Any) -> None:
        self.github = github

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GH_ENTERPRISE_TOKEN", "ghp_ann")
            yield self.github.spec()

    def writes(self) -> int:
        changes = r"(POST|PATCH|DELETE) (?!.*generate-notes)"
        return int(self.github.count(changes))

    @contextmanager
    def without_rights(self) -> Iterator[None]:
        self.github.user("github_pat_bob", "bob", push=(), sees=frozenset({"ann/data"}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GH_ENTERPRISE_TOKEN", "github_pat_bob")
            yield


class TestPublishingParts(TestPublishing):
    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GH_ENTERPRISE_TOKEN", "ghp_ann")
            yield self.github.spec(part=2000)


# -- who may publish ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "user", "reason"),
    [
        ("ghp_nobody", {}, "does not know the token"),
        ("ghp_bob", {"push": (), "scopes": ("repo",)}, "no write access"),
        ("ghp_bob", {"scopes": ("gist",)}, "its scopes are: gist"),
        ("ghp_bob", {"scopes": ()}, "its scopes are: none"),
        ("github_pat_bob", {"contents": "read"}, "Resource not accessible by personal access token"),
        ("ghs_app", {"contents": "read", "app": True}, "Resource not accessible by integration"),
    ],
)
def test_a_token_that_is_too_weak_is_refused_before_anything_is_sent(
    github: Any,
    author: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    user: dict[str, Any],
    reason: str,
) -> None:
    if user:
        github.user(token, "bob", **user)
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", token)
    with pytest.raises(AccessDenied, match=reason) as caught:
        author(github.spec(), {"dust.fits": DUST})
    assert "Contents: read and write" in caught.value.remedy
    assert f"{github.url}/settings/personal-access-tokens/new" in caught.value.remedy
    assert "the variable GH_ENTERPRISE_TOKEN" in str(caught.value)
    assert token not in str(caught.value)
    assert github.count("POST .*/releases$") == 0


@pytest.mark.parametrize(
    ("token", "user", "who"),
    [
        ("github_pat_bob", {"login": "bob"}, "bob"),
        ("ghs_app", {"app": True}, "an app"),
        ("ghp_bob", {"login": "bob", "scopes": ("public_repo",)}, "bob"),
    ],
)
def test_any_token_with_the_right_does(
    github: Any, author: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, token: str, user: dict[str, Any], who: str
) -> None:
    github.user(token, **user)
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", token)
    outcome = author(github.spec(), {"dust.fits": DUST})
    assert outcome.plan.hosts[0].who == f"{who}, with the token of the variable GH_ENTERPRISE_TOKEN"
    assert outcome.files[0].proven


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"archived": True}, "archived"),
        ({"empty": True}, "is empty, and a tag needs a commit"),
        ({"private": True}, "is private, so that users would not get the files"),
    ],
)
def test_a_repository_that_takes_no_releases_is_refused_with_the_reason(
    github: Any, author: Callable[..., Any], options: dict[str, Any], reason: str
) -> None:
    github.repository("ann/data", **options)
    with pytest.raises(PublishError, match=reason):
        author(github.spec(), {"dust.fits": DUST})
    assert github.count("POST .*/releases$") == 0


def test_a_repository_that_is_not_there(github: Any, author: Callable[..., Any]) -> None:
    with pytest.raises(AccessDenied, match="sees no repository ann/other"):
        author(github.spec(full="ann/other"), {"dust.fits": DUST})


# -- publishing --------------------------------------------------------------------------------------------------------


def release(github: Any, tag: str = "v1") -> Any:
    [found] = [r for r in github.repositories["ann/data"].releases.values() if r.tag == tag]
    return found


def test_a_release_is_a_draft_until_all_is_proven(github: Any, author: Callable[..., Any]) -> None:
    seen = []
    github.when("POST .*/assets", lambda _: seen.append(release(github).draft), times=9)  # type: ignore[func-returns-value]
    author(github.spec(), {"dust.fits": DUST, "beam.fits": BEAM})
    assert seen == [True, True]
    assert not release(github).draft
    assert github.log.index(next(line for line in github.log if line.startswith("PATCH"))) > max(
        i for i, line in enumerate(github.log) if line.startswith("POST /api/uploads")
    )


def test_the_text_of_a_release_is_from_about(github: Any, author: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "dataferry.toml").write_text(
        '[about]\ntitle = "Dust maps"\ndescription = "Maps of dust."\nauthors = [{name = "Ann"}, {name = "Bob"}]\n'
        'license = "CC-BY-4.0"\nkeywords = ["dust", "maps"]\n'
    )
    author(github.spec(), {"maps/dust.fits": DUST})
    made = release(github)
    assert made.name == "Dust maps (v1)"
    for words in ("Maps of dust.", "Authors: Ann, Bob", "License: CC-BY-4.0", "Keywords: dust, maps"):
        assert words in made.body
    [asset] = made.assets.values()
    assert (asset.name, asset.label) == ("maps+-dust.fits", "maps/dust.fits")


def test_a_published_release_takes_more_files(github: Any, author: Callable[..., Any]) -> None:
    github.put("v1", "old.fits", b"old")
    outcome = author(github.spec(), {"dust.fits": DUST})
    assert outcome.files[0].proven
    assert github.count("(POST|PATCH) .*/releases(/[0-9]+)?$") == 0


def test_the_latest_release_is_pinned_for_readers(github: Any, author: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="no release yet"):
        author(github.spec("latest"), {"dust.fits": DUST})
    github.put("v7", "old.fits", b"old")
    author(github.spec("latest"), {"dust.fits": DUST})
    assert list(Registry(tmp_path / "dataferry.toml").mirrors) == [github.spec("v7")]


@pytest.mark.parametrize(("before", "latest"), [("data-v1", "data-v2"), ("v3.2", "v3.2")])
def test_data_does_not_become_the_latest_release_of_the_code(
    github: Any, author: Callable[..., Any], before: str, latest: str
) -> None:
    github.put(before, "old.fits", b"old")
    author(github.spec("data-v2"), {"dust.fits": DUST})
    assert [r.tag for r in github.repositories["ann/data"].releases.values() if r.latest] == [latest]


def test_other_bytes_are_a_conflict_that_names_the_next_tag(github: Any, author: Callable[..., Any]) -> None:
    github.put("data-v1", "dust.fits", BEAM)
    with pytest.raises(Conflict, match=r"releases/tag/data-v1 has other bytes under dust\.fits") as caught:
        author(github.spec("data-v1"), {"dust.fits": DUST})
    assert caught.value.remedy == "A published file keeps its bytes: publish to @data-v2"
    assert github.count("(POST|DELETE) .*/releases(?!/generate-notes)") == 0


@pytest.mark.parametrize("same", [True, False])
def test_two_authors_at_once(github: Any, author: Callable[..., Any], same: bool) -> None:
    """The other one's asset is complete a moment before ours."""

    def other_first(handler: Any) -> bool:
        github.put("v1", "dust.fits", DUST if same else BEAM[: len(DUST)], draft=True)
        return False

    github.when("POST .*/assets", other_first)
    if same:
        assert author(github.spec(), {"dust.fits": DUST}).files[0].proven
    else:
        with pytest.raises(Conflict, match=r"other bytes under dust\.fits") as caught:
            author(github.spec(), {"dust.fits": DUST})
        assert "delete the assets there, or publish to @v2" in caught.value.remedy
    assert github.count("DELETE") == 0


def test_two_authors_publish_the_same_files_together(github: Any, author: Callable[..., Any], tmp_path: Path) -> None:
    files = {f"{number}.dat": bytes([number]) * 100_000 for number in range(8)}
    for registry in ("one.toml", "two.toml"):
        author(github.spec("other"), files, registry=registry, dry_run=True)  # writes the files
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(author, github.spec(), files, f"{number}.toml") for number in ("one", "two")]
        assert all(file.proven for run in runs for file in run.result().files)
    assert sorted(github.arrived) == sorted(files), "something was uploaded twice"
    assert sorted(release(github).assets) == sorted(files)
    assert not release(github).draft


def test_another_authors_upload_is_waited_for(github: Any, author: Callable[..., Any]) -> None:
    def other_begins(handler: Any) -> bool:
        asset = github.put("v1", "dust.fits", b"", draft=True, state="starter")

        def arrives(handler: Any) -> bool:
            asset.data, asset.state = DUST, "uploaded"
            asset.digest = f"sha256:{hashlib.sha256(DUST).hexdigest()}"
            return False

        github.when(f"GET .*/assets/{asset.id}", arrives)
        return False

    github.when("POST .*/assets", other_begins)
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven
    assert github.count("DELETE") == 0


def test_another_authors_upload_that_lasts_is_left_alone(
    github: Any, author: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GitHubReleasePublisher, "others_within", 0.0)
    asset = github.put("v1", "dust.fits", b"", state="starter")
    with pytest.raises(PublishError, match="somebody has been uploading it"):
        author(github.spec(), {"dust.fits": DUST})
    assert github.count("DELETE") == 0
    asset.created -= 3700  # by the clock of the server
    github.skew = -86400
    asset.created -= 86400
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven
    assert github.count("DELETE") == 1


def test_two_authors_who_make_a_draft_at_once_use_the_older(github: Any, author: Callable[..., Any]) -> None:
    github.when("POST .*/releases$", lambda _: bool(github.put("v1", "beam.fits", BEAM, draft=True)) and False)
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven
    assert sorted(release(github).assets) == ["beam.fits", "dust.fits"]


def test_somebody_publishes_the_tag_first(github: Any, author: Callable[..., Any]) -> None:
    github.when("PATCH", lambda _: bool(github.put("v1", "beam.fits", BEAM)) and False)
    with pytest.raises(PublishError, match="somebody published another release v1"):
        author(github.spec(), {"dust.fits": DUST})
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven
    assert sorted(release(github).assets) == ["beam.fits", "dust.fits"], "the draft that is needless is gone"


# -- what goes wrong on the way ----------------------------------------------------------------------------------------


def cut_after(count: int) -> Callable[[Any], bool]:
    """Take so many bytes of an upload, and cut the connection; GitHub keeps an empty asset of it."""

    def act(handler: Any) -> bool:
        handler.left = count
        real = handler.read

        def read(*args: Any) -> bytes:
            real(*args)
            raise ConnectionError("cut")

        handler.read = read
        try:
            handler.route()
        except ConnectionError:
            handler.reset()
        return True

    return act


def bad_gateway(handler: Any) -> bool:
    github = handler.github
    asset = github.put("v1", handler.query["name"], b"", draft=True, state="starter")
    assert asset
    handler.reply(502, {"message": "Server Error"})
    return True


def lost_answer(handler: Any) -> bool:
    handler.wfile.close()
    handler.wfile = io.BytesIO()
    handler.route()
    handler.reset()
    return True


@pytest.mark.parametrize("part", [None, 1500])
@pytest.mark.parametrize("fault", [cut_after(0), cut_after(1000), bad_gateway, lost_answer])
def test_an_upload_that_is_cut_is_sent_again(
    github: Any, author: Callable[..., Any], part: int | None, fault: Callable[[Any], bool]
) -> None:
    github.when("POST .*/assets", fault)
    outcome = author(github.spec(**({"part": part} if part else {})), {"dust.fits": DUST})
    assert outcome.files[0].proven
    assets = release(github).assets.values()
    assert {asset.state for asset in assets} == {"uploaded"}
    assert b"".join(asset.data for asset in assets) == DUST
    again = fault is not lost_answer
    assert github.count("POST .*/assets") == len(assets) + again
    assert github.count("DELETE") == again


def test_a_network_that_stays_away_leaves_a_draft_and_the_next_run_goes_on(
    github: Any, author: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GitHubReleasePublisher, "pause", 0.0)
    github.when("POST .*beam", cut_after(10), times=99)
    with pytest.raises(PublishErrors) as caught:
        author(github.spec(), {"dust.fits": DUST, "beam.fits": BEAM})
    assert "beam.fits: it did not arrive in 5 attempts" in str(caught.value)
    assert release(github).draft
    assert not (tmp_path / "dataferry.toml").exists()
    github.rules.clear()
    outcome = author(github.spec(), {"dust.fits": DUST, "beam.fits": BEAM})
    assert {file.name: file.sent for file in outcome.files} == {"dust.fits": False, "beam.fits": True}
    assert all(file.proven for file in outcome.files)


@pytest.mark.timeout(60)
def test_an_upload_that_is_never_answered_is_sent_twice(
    github: Any, author: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub gets five minutes to answer, which nobody wants to wait for five times."""
    monkeypatch.setattr(GitHubReleasePublisher, "sent_within", 0.25)
    over = threading.Event()
    github.when("POST .*/assets", lambda _: over.wait() or True, times=99)
    try:
        with pytest.raises(DataferryError, match=r"no answer in 0\.25 s"):
            author(github.spec(), {"dust.fits": DUST})
    finally:
        over.set()
    assert github.count("POST .*/assets") == 2


def test_bytes_that_changed_on_the_way_are_removed(github: Any, author: Callable[..., Any]) -> None:
    def flip(handler: Any) -> bool:
        real = handler.read

        def once(*args: int) -> bytes:
            handler.read = real  # the connection may serve the next request too
            return bytes(real(*args)[::-1])

        handler.read = once
        return False

    github.when("POST .*/assets", flip)
    with pytest.raises(PublishError, match="other bytes arrived than were sent, and were removed"):
        author(github.spec(), {"dust.fits": DUST})
    assert release(github).assets == {}
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven


def test_a_name_that_github_writes_in_another_way_is_removed(
    github: Any, author: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys.modules["dataferry_test_servers.github.state"], "kept_name", lambda name: name.replace("+", ".")
    )
    with pytest.raises(PublishError, match=r"calls the asset maps\+-dust\.fits maps\.-dust\.fits"):
        author(github.spec(), {"maps/dust.fits": DUST})
    assert release(github).assets == {}


def test_a_server_that_tells_no_digests(
    github: Any, author: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GitHubReleasePublisher, "digest_within", 0.0)
    github.digests = False
    github.when("PATCH", lambda handler: handler.reply(422, {"message": "no", "documentation_url": ""}) or True)
    files = {"dust.fits": DUST, "beam.fits": BEAM}
    with pytest.raises(PublishError, match="does not take the release"):
        author(github.spec(part=2000), files)
    uploads = github.count("POST .*/assets")
    assert all(file.proven for file in author(github.spec(part=2000), files).files)
    assert github.count("POST .*/assets") == uploads == 4
    assert not any(file.sent for file in author(github.spec(part=2000), files, registry="other.toml").files)


def test_a_short_limit_is_waited_for(github: Any, author: Callable[..., Any]) -> None:
    def too_fast(handler: Any) -> bool:
        handler.extra["Retry-After"] = "1"
        handler.reply(403, {"message": "You have exceeded a secondary rate limit."})
        return True

    github.when("POST .*/assets", too_fast)
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven
    assert github.count("POST .*/assets") == 2


def test_a_used_up_limit_that_soon_ends_is_waited_for_by_the_clock_of_the_server(
    github: Any, author: Callable[..., Any]
) -> None:
    github.skew = -7200
    github.limit_left, github.limit_reset = 3, github.now() + 1
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven


@pytest.mark.parametrize("status", [403, 429])
def test_a_long_limit_is_an_error_with_the_time(github: Any, author: Callable[..., Any], status: int) -> None:
    def used_up(handler: Any) -> bool:
        handler.extra["Retry-After"] = "2400"
        handler.reply(status, {"message": "You have exceeded a secondary rate limit."})
        return True

    github.when("POST .*/assets", used_up)
    with pytest.raises(TransferError, match=r"until \d\d:\d\d UTC \(in 40 min\)"):
        author(github.spec(), {"dust.fits": DUST})
    assert github.count("POST .*/assets") == 1
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven


# -- damaged assets of registered files --------------------------------------------------------------------------------


def damage(asset: Any, *, digest: bool = True) -> None:
    asset.data = asset.data[:-1] + b"?"
    asset.digest = f"sha256:{hashlib.sha256(asset.data).hexdigest()}" if digest else None


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("part", [None, 1000])
def test_a_damaged_asset_of_a_registered_file_is_repaired(
    github: Any, author: Callable[..., Any], tmp_path: Path, part: int | None, digest: bool
) -> None:
    spec, files = github.spec(**({"part": part} if part else {})), {"dust.fits": DUST, "beam.fits": BEAM}
    author(spec, files)
    sent = github.count("POST .*/assets")
    name = "dust.fits.part02-of-03" if part else "dust.fits"
    damage(release(github).assets[name], digest=digest)
    if digest:
        with pytest.raises(Conflict, match="--repair replaces it"):
            author(spec, files)
    text = (tmp_path / "dataferry.toml").read_text()
    outcome = author(spec, files, repair=True)
    assert [(file.name, file.proven) for file in outcome.files if file.action == "repair"] == [("dust.fits", True)]
    assert release(github).assets[name].data in DUST
    assert github.count("POST .*/assets") == sent + 1, "only the damaged asset goes again"
    assert github.count("DELETE") == 1
    assert (tmp_path / "dataferry.toml").read_text() == text


def test_an_asset_of_another_size_is_repaired(github: Any, author: Callable[..., Any]) -> None:
    author(github.spec(), {"dust.fits": DUST})
    github.put("v1", "dust.fits", b"cut")
    assert author(github.spec(), {"dust.fits": DUST}, repair=True).files[0].proven
    assert release(github).assets["dust.fits"].data == DUST


def test_repair_is_for_the_registered_bytes_alone(github: Any, author: Callable[..., Any]) -> None:
    author(github.spec(), {"dust.fits": DUST})
    with pytest.raises(Conflict, match="registered with other bytes"):
        author(github.spec(), {"dust.fits": BEAM}, repair=True)
    github.put("v1", "beam.fits", BEAM)
    with pytest.raises(Conflict, match="another file under this name"):
        author(github.spec(), {"beam.fits": DUST}, repair=True)
    assert release(github).assets["beam.fits"].data == BEAM
    damage(release(github).assets["dust.fits"])
    release(github).immutable = True
    with pytest.raises(Conflict, match="cannot replace it"):
        author(github.spec(), {"dust.fits": DUST}, repair=True)
    assert github.count("DELETE") == 0


# -- limits of a release -----------------------------------------------------------------------------------------------


def test_more_files_than_a_release_holds_go_to_further_ones(
    github: Any,
    author: Callable[..., Any],
    make_package: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    github.most_assets = 4
    monkeypatch.setattr(GitHubReleasePublisher, "most_assets", 4)
    files = {f"{number}.dat": b"%d" % number * 100 for number in range(6)} | {"large.fits": DUST}
    spec = github.spec(part=1000)
    outcome = author(spec, files, dry_run=True)
    [plan] = outcome.plan.hosts
    remarks = plan.publisher.remarks([step.upload for step in plan.doing("upload")])
    assert "large.fits goes in 3 parts" in remarks
    assert any("4 in v1, 2 in v1-more2, 3 in v1-more3" in remark for remark in remarks), remarks
    author(spec, files)
    assert [len(release(github, tag).assets) for tag in ("v1", "v1-more2", "v1-more3")] == [4, 2, 3]
    assert release(github).latest
    registry = Registry(tmp_path / "dataferry.toml")
    assert registry.find("0.dat").locators == {}  # type: ignore[union-attr]
    assert registry.find("large.fits").locators == {"github-release": "v1-more3"}  # type: ignore[union-attr]
    monkeypatch.delenv("GH_ENTERPRISE_TOKEN")
    data = PackageData("mypkg", registry=tmp_path / "dataferry.toml", show_progress=False)
    assert [Path(path).read_bytes() for path in data.fetch(list(files))] == list(files.values())
    assert sorted(make_host(spec).hosted(load_settings())) == sorted(files)


def test_a_further_run_fills_up_and_uploads_nothing_twice(
    github: Any, author: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    github.most_assets = 4
    monkeypatch.setattr(GitHubReleasePublisher, "most_assets", 4)
    files = {f"{number}.dat": b"%d" % number * 100 for number in range(5)}
    author(github.spec(), files)
    more = files | {f"more{number}.dat": b"%d" % number * 100 for number in range(3)}
    outcome = author(github.spec(), more)
    assert {file.name for file in outcome.files if file.sent} == set(more) - set(files)
    assert [len(release(github, tag).assets) for tag in ("v1", "v1-more2")] == [4, 4]
    assert not any(file.sent for file in author(github.spec(), more, registry="other.toml").files)


def test_names_that_differ_in_case_go_to_two_releases(github: Any, author: Callable[..., Any]) -> None:
    github.put("v1", "Dust.fits", BEAM)
    assert author(github.spec(), {"dust.fits": DUST}).files[0].proven
    assert sorted(release(github, "v1-more2").assets) == ["dust.fits"]


def test_a_file_that_github_cannot_have_is_refused_by_the_plan(github: Any, author: Callable[..., Any]) -> None:
    with pytest.raises(PublishError, match="has 298 characters, and 255 are the most"):
        author(github.spec(), {"/".join(["x" * 98] * 3): DUST})
    with pytest.raises(PublishError, match="parts, and a release holds 1000 assets"):
        author(github.spec(part=2), {"dust.fits": DUST})
    with pytest.raises(PublishError, match=r"empty\.dat"):
        author(github.spec(), {"empty.dat": b""})


def test_the_plan_refuses_files_for_an_immutable_release(github: Any, author: Callable[..., Any]) -> None:
    github.repository("ann/data", immutable_releases=True)
    assert author(github.spec("data-v1"), {"dust.fits": DUST}).files[0].proven
    assert release(github, "data-v1").immutable
    with pytest.raises(PublishError, match=r"immutable and takes no more files, so not beam\.fits") as caught:
        author(github.spec("data-v1"), {"dust.fits": DUST, "beam.fits": BEAM}, dry_run=True)
    assert caught.value.remedy == "Publish to @data-v2"
    assert not any(file.sent for file in author(github.spec("data-v1"), {"dust.fits": DUST}).files)


def test_a_release_that_becomes_immutable_meanwhile(github: Any, author: Callable[..., Any]) -> None:
    github.put("v1", "old.fits", b"old")

    def seal(handler: Any) -> bool:
        release(github).immutable = True
        return False

    github.when("POST .*/assets", seal)
    with pytest.raises(PublishError, match="became immutable"):
        author(github.spec(), {"dust.fits": DUST})


def test_a_tag_of_an_immutable_release_that_is_gone(github: Any, author: Callable[..., Any]) -> None:
    github.repositories["ann/data"].burned.add("data-v1")
    with pytest.raises(PublishError, match="an immutable release had the tag data-v1 once") as caught:
        author(github.spec("data-v1"), {"dust.fits": DUST})
    assert caught.value.remedy == "Publish to @data-v2"
