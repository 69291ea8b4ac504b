"""An author of a test, and the users who have nothing of the author's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..publish import Outcome

__all__ = ["Author", "empty_home"]


@dataclass
class Author:
    """Somebody with an empty home, some files and the right to publish them."""

    spec: str  # the host to publish to
    folder: Path  # of the test's own
    anonymous: dict[str, str]  # the environment without the author's credentials
    homes: int = 0

    @property
    def registry(self) -> Path:
        """The author's ``dataferry.toml``."""
        return self.folder / "mypkg" / "data" / "dataferry.toml"

    def publish(self, files: Mapping[str, bytes], *, registry: Path | None = None, **options: Any) -> Outcome:
        """Write files and publish them; the options are those of `dataferry.publish.publish`."""
        from ..publish import publish

        paths = {}
        for number, (name, data) in enumerate(files.items()):
            paths[name] = self.folder / "files" / f"{len(data)}-{number}"
            paths[name].parent.mkdir(exist_ok=True)
            if not paths[name].exists() or paths[name].read_bytes() != data:
                paths[name].write_bytes(data)
        return publish(paths, self.spec, registry or self.registry, progress=False, **options)

    @contextmanager
    def elsewhere(self, variables: Mapping[str, str] | None = None) -> Iterator[None]:
        """An empty home and an environment, by default that of a user, who has none of the author's credentials."""
        self.homes += 1
        wanted = self.anonymous if variables is None else variables
        with pytest.MonkeyPatch.context() as patch:
            for variable in set(os.environ) - set(wanted):
                patch.delenv(variable)
            for variable, value in wanted.items():
                patch.setenv(variable, value)
            empty_home(self.folder / f"home{self.homes}", patch)
            yield

    def users_get(self, names: Sequence[str], registry: Path | None = None) -> dict[str, bytes]:
        """What a user with an empty cache and a release of the package gets."""
        from ..package_data import PackageData

        with self.elsewhere():
            release = self.folder / f"release{self.homes}" / "data"
            release.mkdir(parents=True)
            shutil.copy(registry or self.registry, release / "dataferry.toml")
            data = PackageData("mypkg", registry=release / "dataferry.toml", show_progress=False)
            return {name: Path(path).read_bytes() for name, path in zip(names, data.fetch(names), strict=True)}


def empty_home(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Make an empty home and go there, until the patch is undone."""
    homes = {"HOME": "", "USERPROFILE": "", "XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config"}
    for variable, part in homes.items():
        (home / part).mkdir(parents=True, exist_ok=True)
        patch.setenv(variable, str(home / part))
    for variable in ("ASTROPY_CACHE_DIR", "DATAFERRY_CACHE"):
        patch.delenv(variable, raising=False)
