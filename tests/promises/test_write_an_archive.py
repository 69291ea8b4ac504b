"""The archive of ``docs/write_a_host.rst``: a page of code that keeps the contracts of a host and a publisher."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dataferry import Entry
from dataferry.hosts.base import Host
from dataferry.publish import publish
from dataferry.registry import Registry
from dataferry.testing import HostContract, LookUpContract, PublishContract

KEY = "k3y-5ecret"


class Served:
    depot: Any
    module: Any

    @pytest.fixture(autouse=True)
    def _depot(self, depot: Any, depot_module: Any) -> None:
        self.depot, self.module = depot, depot_module

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[Host]:
        with self.depot() as site:
            number, record = site.put()
            self.numbers = {name: site.add(record, name, data)["id"] for name, data in files.items()}
            record.versions.append(dict(record.draft))
            yield self.module.DepotHost(site.spec(number))


class TestHost(Served, HostContract):
    secrets: ClassVar = [("depot:1?server=https://ann:s3cret@depot.example.org/", "s3cret")]

    def host_at(self, url: str) -> Host:
        host: Host = self.module.DepotHost(url)
        return host

    def entry(self, name: str, data: bytes) -> Entry:
        return Entry(name, hashlib.sha256(data).hexdigest(), len(data), {"depot": self.numbers.get(name, 404)})


class TestLookUp(Served, LookUpContract):
    pass


class TestPublish(PublishContract):
    secret = KEY

    @pytest.fixture(autouse=True)
    def _depot(self, depot: Any, depot_module: Any) -> None:
        self.depot = depot

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        with self.depot() as self.site, pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEPOT_KEY", KEY)
            yield self.site.spec(self.site.put()[0])

    def writes(self) -> int:
        return int(self.site.writes)

    @contextmanager
    def without_rights(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEPOT_KEY", "wrong")
            yield


@pytest.mark.usefixtures("depot_module")
def test_a_new_record_and_its_next_version(depot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPOT_KEY", KEY)
    registry, source = tmp_path / "dataferry.toml", tmp_path / "a.fits"
    registry.write_text('[about]\ntitle = "Maps of the dust"\nauthors = ["Ann Author"]\n')
    with depot() as site:
        for data in (b"old" * 100, b"new" * 100):
            source.write_bytes(data)
            publish({"a.fits": source}, site.spec("new"), registry, progress=False, new_version=True)
        [record] = site.records
        assert record.title == "Maps of the dust"
        assert [site.files[version["a.fits"]] for version in record.versions] == [b"old" * 100, b"new" * 100]
        assert list(Registry(registry).mirrors) == [site.spec(0)]
