"""A host in this process that plays everything the publish engine may meet, and an author's files."""

from __future__ import annotations

import contextlib
import glob
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from dataferry import PackageData, hosts
from dataferry.errors import (
    Conflict,
)
from dataferry.hosts.base import Host, HostedFile, Limits, Publisher, Source
from dataferry.publish import publish
from dataferry.testing import RangeServer

A, B, C = b"a" * 5000, b"b" * 300, b"c" * 70_000
FILES = {"maps/a.fits": A, "maps/b.fits": B, "c.fits": C}


class Quay:
    """A host in this process: a folder behind a web server, what was done there, and what shall go wrong."""

    def __init__(self, folder: Path, **server: Any) -> None:
        self.public, self.draft = folder / "public", folder / "draft"
        self.public.mkdir(parents=True)
        self.server = RangeServer(self.public, **server)
        self.done: Counter[str] = Counter()
        self.going_wrong: dict[str, Callable[[str], object]] = {}
        self.drafts = False
        self.locator = ""
        self.tells = ("sha256",)
        self.limits = Limits()
        self.seconds = 0.0
        self.declares = ""
        self.versions = False
        self.repairs = False
        self.series = ""

    def at(self, step: str, name: str = "") -> None:
        self.done[step] += 1
        self.going_wrong.get(step, lambda name: None)(name)

    def stored(self) -> dict[str, bytes]:
        root = self.public
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


QUAYS: dict[str, Quay] = {}


class QuayHost(Host):
    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.quay = QUAYS[spec.partition(":")[2].rpartition("@")[2]]
        self.locator = self.quay.locator
        self.series = self.quay.series

    def sources(self, name, entry):
        if self.locator:
            key = entry.locators.get(self.locator) if entry else None
            return [Source(self.quay.server.url + quote(str(key)), self.redacted)] if key else []
        return [Source(self.quay.server.url + quote(name), self.redacted)]

    def publisher(self, settings, about):
        return QuayPublisher(self, settings, about)


class QuayPublisher(Publisher):
    def __init__(self, host, settings, about):
        super().__init__(host, settings, about)
        self.quay = host.quay
        self.limits = self.quay.limits
        self.versioned = self.quay.versions
        self.repairs = self.quay.repairs
        self.tells_digests = bool(self.quay.tells)

    @property
    def declared(self):
        return self.quay.declares or self.host.spec

    def check_rights(self):
        self.quay.at("rights")
        return "somebody"

    def hosted(self, uploads):
        self.quay.at("held")
        found = {}
        for upload in uploads if self.versioned else ():
            versions = sorted(
                self.quay.public.glob(f"*/{glob.escape(upload.name)}"), key=lambda p: p.stat().st_mtime_ns
            )
            if versions:
                data, key = versions[-1].read_bytes(), versions[-1].relative_to(self.quay.public).as_posix()
                found[upload.name] = HostedFile(len(data), hashlib.sha256(data).hexdigest(), locators={"quay": key})
        for upload in uploads if not self.versioned else ():
            for root in (self.quay.public, self.quay.draft):
                path = root / upload.name
                if path.is_file():
                    data = path.read_bytes()
                    told = {kind: hashlib.new(kind, data).hexdigest() for kind in self.quay.tells}
                    found[upload.name] = HostedFile(len(data), **told, locators=self.locators(upload.name))
        return found

    def locators(self, name):
        return {self.quay.locator: name} if self.quay.locator else {}

    def problem(self, upload):
        return "it has a plus sign" if "+" in upload.name else ""

    def discard(self, names):
        self.quay.at("discard")
        for name in names:
            (self.quay.public / name).unlink()

    def begin(self, uploads, notes):
        self.quay.at("begin")
        notes["draft"] = notes.get("draft", 0) + 1

    def upload(self, upload, notes, moved):
        self.quay.at("upload", upload.name)
        if self.versioned:
            return self.upload_version(upload)
        target = (self.quay.draft if self.quay.drafts else self.quay.public) / upload.name
        target.parent.mkdir(parents=True, exist_ok=True)
        data = upload.path.read_bytes()
        for start in range(0, len(data), 1000):
            moved(min(1000, len(data) - start))
        if target.exists():
            raise Conflict(upload.name, "it is there")
        private = target.with_name(f".{target.name}.part")
        private.write_bytes(data)
        private.rename(target)
        self.quay.done["stored"] += 1
        return self.locators(upload.name)

    def upload_version(self, upload):
        if upload.name not in self.superseded and self.hosted([upload]):
            raise Conflict(upload.name, "it is there")
        key = f"{upload.sha256[:8]}/{upload.name}"
        (self.quay.public / key).parent.mkdir(parents=True, exist_ok=True)
        (self.quay.public / key).write_bytes(upload.path.read_bytes())
        self.quay.done["stored"] += 1
        return {"quay": key}

    def finish(self, uploads, notes):
        self.quay.at("finish")
        if self.quay.drafts:
            for upload in uploads:
                if (self.quay.draft / upload.name).exists():
                    (self.quay.public / upload.name).parent.mkdir(parents=True, exist_ok=True)
                    (self.quay.draft / upload.name).rename(self.quay.public / upload.name)
        return {}

    def seconds_until_served(self):
        return self.quay.seconds


@pytest.fixture
def quay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Quay]]:
    """``quay("a")`` opens the host ``quay:a``."""
    points = {**hosts._points(), "quay": SimpleNamespace(load=lambda: QuayHost)}
    monkeypatch.setattr(hosts, "_points", lambda: points)
    hosts.make_host.cache_clear()
    with contextlib.ExitStack() as stack:

        def make(name: str = "a", **server: Any) -> Quay:
            new = QUAYS[name] = Quay(tmp_path / f"quay-{name}", **server)
            stack.enter_context(new.server)
            return new

        yield make
    QUAYS.clear()
    hosts.make_host.cache_clear()


class Case:
    """An author's files and registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = folder / "mypkg" / "data" / "dataferry.toml"
        self.paths: dict[str, Path] = {}

    def files(self, files: Mapping[str, bytes]) -> dict[str, Path]:
        paths = {}
        for name, data in files.items():
            paths[name] = self.folder / "files" / hashlib.md5(name.encode()).hexdigest()
            paths[name].parent.mkdir(exist_ok=True)
            paths[name].write_bytes(data)
        return paths

    def publish(self, files: Mapping[str, bytes] = FILES, to: Any = "quay:a", **options: Any) -> Any:
        return publish(self.files(files), to, self.registry, progress=False, **options)

    def got(self) -> dict[str, bytes]:
        """What users get of all that is registered."""
        data = PackageData("mypkg", registry=self.registry, show_progress=False)
        names = data.names()
        return {name: Path(path).read_bytes() for name, path in zip(names, data.fetch(names), strict=True)}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)
