"""What an author says about the data: ``[about]`` in dataferry.toml, else ``.zenodo.json`` or ``CITATION.cff``."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
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
    """A value that may stand alone, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


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


def authors(about: Mapping[str, Any], place: str, *, ids: bool = False) -> list[dict[str, Any]]:
    """The authors as tables with ``name`` or ``family``, ``given``, ``orcid``...; or an ``id`` if `ids`."""
    return [_author(given, place, ids) for given in as_list(about.get("authors") or [])]


def _author(given: object, place: str, ids: bool) -> dict[str, Any]:
    table: Mapping[Any, Any] = given if isinstance(given, Mapping) else {}
    if isinstance(given, str):
        table = {"name": given.strip()}
    elif ids and type(given) is int:
        table = {"id": given}
    author = {_AUTHOR_KEYS[key]: value for key, value in table.items() if key in _AUTHOR_KEYS and value}
    if not author.get("name") and not author.get("family") and not (ids and author.get("id")):
        raise PublishError(place, f"{given!r} in [about] is no author: write a name, or a table with name and orcid")
    if author.get("orcid"):
        author["orcid"] = re.sub(r"^https?://orcid\.org/", "", str(author["orcid"]).strip())
    return author


def full_name(author: Mapping[str, Any]) -> str:
    """An author as people write the name."""
    parts = (author.get("given"), author.get("family"))
    return str(author.get("name") or " ".join(str(part) for part in parts if part))


def name_parts(author: Mapping[str, Any]) -> tuple[str, str]:
    """Family and given name: ``Author, Ann`` says which is which; of ``Ann Author`` the last word is the family's."""
    name = str(author.get("name") or "")
    family, comma, given = name.partition(",")
    if not comma:
        given, _, family = name.rpartition(" ")
    return str(author.get("family") or family).strip(), str(author.get("given") or given).strip()


def plain_license(text: str) -> str:
    """What the names of a license have in common: "CC-BY-4.0" of SPDX and "CC BY 4.0" of archives."""
    # "CC0-1.0" and "CC0"; "GPL-3.0-or-later" and "GPL 3.0+"
    text = text.lower().replace("-or-later", "+").replace("-only", "")
    return re.sub(r"[^a-z0-9+]", "", text).replace("cc010", "cc0")


def read_about(registry: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The ``[about]`` table, and what it leaves out from the ``.zenodo.json`` or ``CITATION.cff`` of the project.

    Parameters
    ----------
    registry : Path
        The ``dataferry.toml``. Its folder and those above are searched, up to the project's: the one that has a
        ``pyproject.toml`` or ``.git``.
    about : mapping
        The table of the registry; what it says stands.

    Returns
    -------
    dict
        One table.
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
