"""``[about]`` as the metadata of a record of InvenioRDM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from .about import Author, as_list, authors


def draft_body(about: Mapping[str, Any], before: Mapping[str, Any], place: str, publisher: str) -> dict[str, Any]:
    """A draft as InvenioRDM takes it: what `about` does not hold stays as it was `before`."""
    metadata = {key: _as_sent(value) for key, value in (before.get("metadata") or {}).items()}
    metadata = {"resource_type": {"id": "dataset"}, "publisher": publisher, **metadata}
    metadata["publication_date"] = datetime.now(UTC).date().isoformat()
    metadata |= {key: str(about[key]).strip() for key in ("title", "version", "publisher") if about.get(key)}
    if about.get("resource_type"):
        metadata["resource_type"] = {"id": str(about["resource_type"])}
    if about.get("description"):
        metadata["description"] = _as_html(str(about["description"]))
    if about.get("authors"):
        metadata["creators"] = [_creator(author) for author in authors(about, place)]
    if about.get("keywords"):
        metadata["subjects"] = [{"subject": str(word)} for word in as_list(about["keywords"])]
    if about.get("license"):
        metadata["rights"] = rights(about, free=False)
    body = {"metadata": metadata, "files": {"enabled": True}}
    kept = {key: before[key] for key in ("access", "pids", "custom_fields") if before.get(key)}
    if "access" in kept:
        kept["access"] = {key: value for key, value in kept["access"].items() if key != "status"}
    return body | kept


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


def rights(about: Mapping[str, Any], *, free: bool) -> list[dict[str, Any]]:
    """The licenses, by the ids that the server knows, or `free` as texts."""
    names = [str(given).strip() for given in as_list(about["license"])]
    return [{"title": {"en": name}} if free else {"id": name.lower()} for name in names]


def _creator(author: Author) -> dict[str, Any]:
    if author.is_organization:
        person: dict[str, Any] = {"type": "organizational", "name": author.name}
    else:
        family, given = author.name_parts
        person = {"type": "personal", "family_name": family} | ({"given_name": given} if given else {})
    if author.orcid:
        person["identifiers"] = [{"scheme": "orcid", "identifier": author.orcid}]
    affiliations = [{"name": name} for name in author.affiliations]
    return {"person_or_org": person} | ({"affiliations": affiliations} if affiliations else {})
