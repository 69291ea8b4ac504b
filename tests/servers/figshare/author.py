"""An author who publishes to Figshare, and what a user then gets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dataferry import PackageData
from dataferry.config import load_settings
from dataferry.errors import (
    Conflict,
)
from dataferry.hosts.base import Upload
from dataferry.hosts.figshare import FigshareHost

ABOUT = {
    "title": "Maps of the dust",
    "description": "Made for a test.",
    "authors": ["Ann Author", {"name": "Bo Writer", "orcid": "0000-0002-1825-0097"}],
    "keywords": ["dust", "cosmology"],
    "categories": ["Cosmology and extragalactic astronomy"],
    "license": "CC-BY-4.0",
}


class Author:
    """Drives a publisher as the engine does; its notes outlive it."""

    def __init__(self, site: Any, folder: Path, spec: str = "", about: Mapping[str, Any] = ABOUT) -> None:
        self.site, self.folder, self.about = site, folder, about
        self.spec = spec or site.spec()
        self.notes: dict[str, Any] = {}
        self.moved = 0

    def publisher(self) -> Any:
        made = FigshareHost(self.spec).publisher(load_settings(), self.about)
        made.patience = 5.0, 0.5
        return made

    def uploads(self, files: Mapping[str, bytes]) -> list[Upload]:
        made = []
        for name, data in files.items():
            path = self.folder / hashlib.sha256(name.encode()).hexdigest()
            path.write_bytes(data)
            made.append(Upload(name, path, len(data), hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()))
        return made

    def publish(self, files: Mapping[str, bytes], *, replace: bool = False) -> dict[str, int]:
        publisher = self.publisher()
        uploads = self.uploads(files)
        publisher.check_rights()
        hosted = publisher.hosted(uploads)
        same = {u.name for u in uploads if u.name in hosted and hosted[u.name].md5 == u.md5}
        others = {u.name: hosted[u.name] for u in uploads if u.name in hosted and u.name not in same}
        if others and not replace:
            raise Conflict(publisher.declared, f"other bytes: {sorted(others)}")
        publisher.superseded = others
        going = [u for u in uploads if u.name not in same]

        def moved(count: int) -> None:
            self.moved += count

        if going:
            publisher.begin(going, self.notes)
            for upload in going:
                publisher.upload(upload, {}, moved)
        locators = publisher.finish(uploads, self.notes)
        self.declared = publisher.declared
        return {name: int(found["figshare"]) for name, found in locators.items()}


def bytes_of(name: str, size: int = 5000) -> bytes:
    return (hashlib.sha256(name.encode()).digest() * (size // 32 + 1))[:size]


def fetched(
    make_package: Callable[..., str], spec: str, files: Mapping[str, bytes], numbers: Mapping[str, int] = {}
) -> dict[str, bytes]:
    """What a user gets who has the registry and nothing else."""
    package = make_package(head=f'mirrors = ["{spec}"]\n')
    data = PackageData(package, show_progress=False)
    path = data.registry.path if hasattr(data, "registry") else None
    assert path is not None
    text = [f'mirrors = ["{spec}"]\n']
    for name, content in files.items():
        text.append(f'[files."{name}"]\nsize = {len(content)}\nsha256 = "{hashlib.sha256(content).hexdigest()}"')
        text += [f"figshare = {numbers[name]}"] if name in numbers else []
    Path(path).write_text("\n".join(text))
    data = PackageData(package, show_progress=False)
    return {name: Path(data.get(name)).read_bytes() for name in files}
