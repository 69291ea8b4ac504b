"""What an author says about the data: ``[about]`` in dataferry.toml, else ``.zenodo.json`` or ``CITATION.cff``."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PublishError

_LONGEST_FILE = 1 << 20
_EXAMPLE = """
[about]
title = "Maps of the dust at 64"
description = "..."
authors = ["Ann Author", {name = "Bo Writer", orcid = "0000-0002-1825-0097", affiliation = "..."}]
keywords = ["cosmology", "dust"]
categories = ["Cosmology and extragalactic astronomy"]
license = "CC-BY-4.0\""""
#: Keys of an author here, in CITATION.cff and at Figshare -> ours.
_AUTHOR_KEYS = {
    **{key: key for key in ("id", "name", "given", "family", "email", "orcid", "affiliation", "type")},
    "given-names": "given",
    "family-names": "family",
    "first_name": "given",
    "last_name": "family",
    "orcid_id": "orcid",
}


def as_list(value: object) -> list[Any]:
    """A value that may stand alone, as a list; an empty one for None."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def about_for(about: Mapping[str, Any], table: str) -> dict[str, Any]:
    """The table for one archive: ``[about]``, and over it ``[about.<table>]``."""
    own = about.get(table)
    return {**about, **own} if isinstance(own, Mapping) else dict(about)


def require(about: Mapping[str, Any], keys: Sequence[str], provider: str, place: str) -> None:
    """Refuse a table without which an archive would publish nothing. Raises `PublishError`."""
    if missing := [key for key in keys if not about.get(key)]:
        raise PublishError(
            place,
            f"{provider} publishes nothing without {' and '.join(missing)}",
            f"declare that in dataferry.toml:{_EXAMPLE}",
        )
    if len(str(about["title"]).strip()) < 3:
        raise PublishError(place, "the title in [about] has less than 3 characters")


@dataclass(frozen=True, slots=True)
class Author:
    """An author of the data; ``id`` is a number that an archive gave."""

    id: object = None
    name: str = ""
    family: str = ""
    given: str = ""
    email: str = ""
    orcid: str = ""
    affiliations: Sequence[str] = ()
    is_organization: bool = False

    @property
    def full_name(self) -> str:
        """As people write the name."""
        return self.name or f"{self.given} {self.family}".strip()

    @property
    def name_parts(self) -> tuple[str, str]:
        """Family and given name: "Author, Ann" says which is which; of "Ann Author" the last word is the family's."""
        family, comma, given = self.name.partition(",")
        if not comma:
            given, _, family = self.name.rpartition(" ")
        return self.family or family.strip(), self.given or given.strip()


def authors(about: Mapping[str, Any], place: str, *, ids: bool = False) -> list[Author]:
    """The authors; one may be only an ``id`` if `ids`. Raises `PublishError` for what is no author."""
    return [_author(given, place, ids) for given in as_list(about.get("authors"))]


def _author(given: object, place: str, ids: bool) -> Author:
    table: Mapping[Any, Any] = given if isinstance(given, Mapping) else {}
    if isinstance(given, str):
        table = {"name": given}
    elif ids and type(given) is int:
        table = {"id": given}
    known = {_AUTHOR_KEYS[key]: value for key, value in table.items() if key in _AUTHOR_KEYS and value}
    number, kind, affiliations = (known.pop(key, None) for key in ("id", "type", "affiliation"))
    words = {key: str(value).strip() for key, value in known.items()}
    if not words.get("name") and not words.get("family") and not (ids and number):
        raise PublishError(place, f"{given!r} in [about] is no author: write a name, or a table with name and orcid")
    words["orcid"] = re.sub(r"^https?://orcid\.org/", "", words.get("orcid", ""))
    organization = kind in {"organization", "organizational"} and "name" in words
    return Author(number, affiliations=list(map(str, as_list(affiliations))), is_organization=organization, **words)


def plain_license(text: str) -> str:
    """What the names of a license have in common: "CC-BY-4.0" of SPDX and "CC BY 4.0" of archives."""
    # "CC0-1.0" and "CC0"; "GPL-3.0-or-later" and "GPL 3.0+"
    text = text.lower().replace("-or-later", "+").replace("-only", "")
    return re.sub(r"[^a-z0-9+]", "", text).replace("cc010", "cc0")


def read_about(registry: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The ``[about]`` table, and what it leaves out from the ``.zenodo.json`` or ``CITATION.cff`` of the project.

    The folder of the registry and those above are searched, up to one with a ``pyproject.toml`` or ``.git``.
    """
    found: dict[str, Any] = {}
    for folder in registry.absolute().parents:
        for name, read in ((".zenodo.json", _zenodo), ("CITATION.cff", _citation)):
            if (path := folder / name).is_file():
                found = {**_read(path, read), **found}
        if found or (folder / "pyproject.toml").exists() or (folder / ".git").exists():
            break
    return {**found, **about}


def _read(path: Path, read: Any) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            table = read(file.read(_LONGEST_FILE))
        return {key: value for key, value in table.items() if value}
    except Exception as error:  # noqa: BLE001 - a file for other programs, in any state: it only fills gaps
        logging.getLogger("dataferry").warning("%s is not used for [about]: %s", path, error)
        return {}


def _zenodo(text: str) -> dict[str, Any]:
    table = json.loads(text)
    license_ = table.get("license")
    return {
        **{key: table.get(key) for key in ("title", "description", "keywords", "version")},
        "authors": [dict(creator) for creator in table.get("creators") or []],
        "license": license_.get("id") if isinstance(license_, Mapping) else license_,
    }


def _citation(text: str) -> dict[str, Any]:
    import yaml  # a dependency of astropy

    table = yaml.safe_load(text)
    people = [
        {**author, "family-names": f"{author.get('name-particle') or ''} {author['family-names']}".strip()}
        if author.get("family-names")
        else {**author, "type": "organization"}
        for author in table.get("authors") or []
    ]
    return {
        **{key: table.get(key) for key in ("title", "keywords", "license")},
        "version": str(table.get("version") or ""),
        "description": table.get("abstract"),
        "authors": people,
    }
