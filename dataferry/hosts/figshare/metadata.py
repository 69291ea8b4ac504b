"""What an article says of itself: the ``[about]`` table in Figshare's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import PublishError, TransferError
from ...registry.names import close_names

if TYPE_CHECKING:
    from .interface import Interface

__all__ = ["about_of", "changes", "lacking", "metadata"]

_NEEDED = ("title", "description", "keywords", "categories", "license")
_EXAMPLE = """
[about]
title = "Maps of the dust at 64"
description = "..."
authors = ["Ann Author", {name = "Bo Writer", orcid = "0000-0002-1825-0097"}]
keywords = ["cosmology", "dust"]
categories = ["Cosmology and extragalactic astronomy"]
license = "CC-BY-4.0\""""


def about_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """The table for this host: ``[about]``, and over it ``[about.figshare]``.

    Parameters
    ----------
    about : mapping
        The ``[about]`` table.

    Returns
    -------
    dict
        One table.
    """
    own = about.get("figshare")
    return {**about, **own} if isinstance(own, Mapping) else dict(about)


def lacking(about: Mapping[str, Any], place: str) -> None:
    """Refuse a table without which Figshare would publish nothing.

    Parameters
    ----------
    about : mapping
        The table.
    place : str
        The host as it may be shown.

    Raises
    ------
    PublishError
        If something is missing; the message shows how it is written.
    """
    missing = [key for key in _NEEDED if not about.get(key)]
    if missing:
        raise PublishError(
            place,
            f"Figshare publishes no article without {' and '.join(missing)}",
            f"declare that in dataferry.toml:{_EXAMPLE}",
        )


def metadata(about: Mapping[str, Any], interface: Interface, place: str) -> dict[str, Any]:
    """The table as Figshare takes it.

    Parameters
    ----------
    about : mapping
        The table; what it does not hold is left out.
    interface : Interface
        Is asked for licences and categories that are given by name.
    place : str
        The host as it may be shown.

    Returns
    -------
    dict
        Fields of an article.

    Raises
    ------
    PublishError
        If something cannot be used; the message names it.
    """
    fields: dict[str, Any] = {}
    for key in ("title", "description"):
        if about.get(key):
            fields[key] = str(about[key]).strip()
    if not 3 <= len(fields.get("title", "...")) <= 1000:
        raise PublishError(place, "the title in [about] has less than 3 or more than 1000 characters")
    if about.get("keywords"):
        words = about["keywords"]
        fields["tags"] = [str(w) for w in ([words] if isinstance(words, str) else words)]
    if about.get("authors"):
        authors = about["authors"]
        fields["authors"] = [_author(a, place) for a in (authors if isinstance(authors, list) else [authors])]
    if about.get("categories"):
        given = about["categories"]
        fields["categories"] = _categories(given if isinstance(given, list) else [given], interface, place)
    if about.get("license"):
        fields["license"] = _license(about["license"], interface, place)
    return fields


def changes(fields: Mapping[str, Any], article: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in which an article differs.

    Parameters
    ----------
    fields : mapping
        What `metadata` gave.
    article : mapping
        The article as Figshare tells it.

    Returns
    -------
    dict
        A part of `fields`.
    """
    license_ = article.get("license") or {}
    now = {
        "title": article.get("title"),
        "description": article.get("description"),
        "tags": sorted(article.get("tags") or []),
        "categories": sorted(item["id"] for item in article.get("categories") or []),
        "license": license_.get("value") if isinstance(license_, Mapping) else license_,
        "authors": [str(item.get("full_name", "")) for item in article.get("authors") or []],
    }
    wanted = {
        **fields,
        "tags": sorted(fields.get("tags", [])),
        "categories": sorted(fields.get("categories", [])),
        "authors": [_full_name(item) for item in fields.get("authors", [])],
    }
    return {key: value for key, value in fields.items() if wanted[key] != now[key]}


def _author(given: object, place: str) -> dict[str, Any]:
    if isinstance(given, str) and given.strip():
        return {"name": given.strip()}
    if isinstance(given, int) and not isinstance(given, bool):
        return {"id": given}
    if isinstance(given, Mapping):
        renamed = {"orcid": "orcid_id", "given": "first_name", "family": "last_name"}
        author = {renamed.get(key, key): value for key, value in given.items() if value}
        known = {"id", "name", "first_name", "last_name", "email", "orcid_id"}
        if author and ({"id", "name", "last_name"} & author.keys()):
            return {key: value for key, value in author.items() if key in known}
    raise PublishError(place, f"{given!r} in [about] is no author: write a name, or a table with name and orcid")


def _full_name(author: Mapping[str, Any]) -> str:
    return str(author.get("name") or " ".join(filter(None, (author.get("first_name"), author.get("last_name")))))


def _categories(given: list[Any], interface: Interface, place: str) -> list[int]:
    if all(isinstance(item, int) for item in given):
        return [int(item) for item in given]
    known = _listed(interface, "categories")
    titles = {str(item["title"]).lower(): int(item["id"]) for item in known}
    codes = {str(item.get("source_id") or ""): int(item["id"]) for item in known}
    found: list[int] = []
    for item in given:
        number = item if isinstance(item, int) else codes.get(str(item)) or titles.get(str(item).lower())
        if number is None:
            close = [str(one["title"]) for one in known if str(item).lower() in str(one["title"]).lower()]
            close = close[:3] or close_names(str(item), [str(one["title"]) for one in known])
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise PublishError(
                place,
                f"Figshare has no category {item!r}{hint}",
                f"all of them, with their ids, are at {interface.base}categories",
            )
        found.append(number)
    return found


def _license(given: object, interface: Interface, place: str) -> int:
    if isinstance(given, int):
        return given
    known = _listed(interface, "licenses")
    wanted = _plain(str(given))
    names = {_plain(str(item["name"])): int(item["value"]) for item in known}
    urls = {_plain(re.sub(r"^https?://(?:www\.)?", "", str(item["url"]))): int(item["value"]) for item in known}
    for words in (wanted, re.sub(r"\d+$", "", wanted)):
        if (number := names.get(words, urls.get(words))) is not None:
            return number
    said = ", ".join(str(item["name"]) for item in known)
    raise PublishError(place, f"Figshare does not offer the license {given!r} to you", f"there are: {said}")


def _plain(text: str) -> str:
    # "CC-BY-4.0" of SPDX and "CC BY 4.0" of Figshare; "CC0-1.0" and "CC0"; "GPL-3.0-or-later" and "GPL 3.0+"
    text = text.lower().replace("-or-later", "+").replace("-only", "")
    return re.sub(r"[^a-z0-9+]", "", text).replace("cc010", "cc0")


def _listed(interface: Interface, what: str) -> list[dict[str, Any]]:
    """What this account may use; what anybody may, where the account has no list of its own."""
    for path in (f"account/{what}", what):
        try:
            if found := interface.find(path):
                return [dict(item) for item in found]
        except TransferError:
            if path == what:
                raise
    return []
