"""What a record says of itself: the ``[about]`` table in InvenioRDM's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from ...errors import PublishError

__all__ = ["about_of", "draft_body", "lacking"]

_EXAMPLE = """
[about]
title = "Maps of the dust at 64"
description = "..."
authors = ["Ann Author", {name = "Bo Writer", orcid = "0000-0002-1825-0097", affiliation = "..."}]
keywords = ["cosmology", "dust"]
license = "CC-BY-4.0\""""


def about_of(about: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The table for one kind of host: ``[about]``, and over it ``[about.<kind>]``.

    Parameters
    ----------
    about : mapping
        The ``[about]`` table.
    kind : str
        ``"zenodo"`` or ``"inveniordm"``.

    Returns
    -------
    dict
        One table.
    """
    own = about.get(kind)
    return {**about, **own} if isinstance(own, Mapping) else dict(about)


def lacking(about: Mapping[str, Any], place: str) -> None:
    """Refuse a table from which no record can be made.

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
    missing = [key for key in ("title", "authors") if not about.get(key)]
    if missing:
        raise PublishError(
            place, f"a new record needs {' and '.join(missing)}", f"declare that in dataferry.toml:{_EXAMPLE}"
        )
    if len(str(about["title"]).strip()) < 3:
        raise PublishError(place, "the title in [about] has less than 3 characters")


def draft_body(
    about: Mapping[str, Any], before: Mapping[str, Any], place: str, publisher: str, *, free_license: bool = False
) -> dict[str, Any]:
    """A draft as InvenioRDM takes it.

    Parameters
    ----------
    about : mapping
        The table; what it does not hold stays as it is.
    before : mapping
        The draft as the server tells it; empty for one that is yet to be made.
    place : str
        The host as it may be shown.
    publisher : str
        Who publishes, where nobody else is named.
    free_license : bool
        Whether to give the license as a text, for a server that does not know its id.

    Returns
    -------
    dict
        The body of a request.

    Raises
    ------
    PublishError
        If something cannot be used; the message names it.
    """
    metadata = {key: _as_sent(value) for key, value in (before.get("metadata") or {}).items()}
    metadata.setdefault("resource_type", {"id": "dataset"})
    metadata["publication_date"] = datetime.now(UTC).date().isoformat()
    metadata.setdefault("publisher", publisher)
    for key in ("title", "version", "publisher"):
        if about.get(key):
            metadata[key] = str(about[key]).strip()
    if about.get("resource_type"):
        metadata["resource_type"] = {"id": str(about["resource_type"])}
    if about.get("description"):
        metadata["description"] = _as_html(str(about["description"]))
    if about.get("authors"):
        metadata["creators"] = [_creator(author, place) for author in _several(about["authors"])]
    if about.get("keywords"):
        metadata["subjects"] = [{"subject": str(word)} for word in _several(about["keywords"])]
    if about.get("license"):
        metadata["rights"] = [_right(given, free=free_license) for given in _several(about["license"])]
    body = {"metadata": metadata, "files": {"enabled": True}}
    kept = {key: before[key] for key in ("access", "pids", "custom_fields") if before.get(key)}
    if "access" in kept:
        kept["access"] = {key: value for key, value in kept["access"].items() if key != "status"}
    return body | kept


def _several(given: object) -> list[Any]:
    return list(given) if isinstance(given, list) else [given]


def _as_sent(value: Any) -> Any:
    """A value without what the server itself looked up for an id."""
    if isinstance(value, list):
        return [_as_sent(item) for item in value]
    if isinstance(value, Mapping):
        if "id" in value and "title" in value:
            return {"id": value["id"]}
        return {key: _as_sent(item) for key, item in value.items()}
    return value


def _as_html(text: str) -> str:
    """Plain text in paragraphs; what has tags stays as it is."""
    if re.search(r"</?[a-z][^>]*>", text, re.IGNORECASE):
        return text.strip()
    return "".join(f"<p>{escape(part.strip(), quote=False)}</p>" for part in re.split(r"\n\s*\n", text) if part.strip())


def _right(given: object, *, free: bool) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    return {"title": {"en": str(given)}} if free else {"id": str(given).strip().lower()}


def _creator(given: object, place: str) -> dict[str, Any]:
    table: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if isinstance(given, str):
        table = {"name": given}
    name = str(table.get("name") or "").strip()
    if table.get("type") in {"organization", "organizational"} and name:
        person: dict[str, Any] = {"type": "organizational", "name": name}
    else:
        family, given_name = _parts(name)
        family = str(table.get("family") or family)
        given_name = str(table.get("given") or given_name)
        if not family:
            raise PublishError(
                place, f"{given!r} in [about] is no author", "write a name, or a table with name and orcid"
            )
        person = {"type": "personal", "family_name": family}
        if given_name:
            person["given_name"] = given_name
    if table.get("orcid"):
        number = re.sub(r"^https?://orcid\.org/", "", str(table["orcid"]).strip())
        person["identifiers"] = [{"scheme": "orcid", "identifier": number}]
    affiliations = [{"name": str(item)} for item in _several(table.get("affiliation") or []) if item]
    return {"person_or_org": person} | ({"affiliations": affiliations} if affiliations else {})


def _parts(name: str) -> tuple[str, str]:
    """Family and given name: ``Author, Ann`` says which is which, in ``Ann Author`` the last word is the family's."""
    family, comma, given = name.partition(",")
    if comma:
        return family.strip(), given.strip()
    given, _, family = name.rpartition(" ")
    return family.strip(), given.strip()
