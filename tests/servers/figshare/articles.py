"""What a Figshare knows: accounts, articles with drafts and versions, files with parts."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LICENSES", "Account", "Article", "File"]

LICENSES = [
    {"value": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"},
    {"value": 2, "name": "CC0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"},
    {"value": 3, "name": "MIT", "url": "https://opensource.org/licenses/MIT"},
    {"value": 6, "name": "GPL 3.0+", "url": "https://www.gnu.org/licenses/gpl-3.0.html"},
]
CATEGORIES = [
    {"id": 29800, "parent_id": 1, "title": title, "path": "/1/2", "source_id": code, "taxonomy_id": 100}
    for title, code in [("Cosmology and extragalactic astronomy", "510103")]
]
_DAY = "2026-11-23T00:00:00Z"
_TIMES = ("posted", "submission", "revision", "firstOnline", "publisherPublication", "publisherAcceptance")
_WITHOUT = {
    "resource_doi": "",
    "resource_title": "",
    "group_id": None,
    "citation": "",
    "confidential_reason": "",
    "embargo_type": None,
    "is_confidential": False,
    "funding": "",
    "funding_list": [],
    "is_active": True,
    "metadata_reason": "",
    "has_linked_file": False,
    "embargo_title": "",
    "embargo_reason": "",
    "embargo_options": [],
    "references": [],
    "related_materials": [],
    "custom_fields": [],
}


@dataclass
class Account:
    """Somebody with a token."""

    number: int
    quota: int = 20 * 10**9
    most: int = 20 * 10**9
    institution: int = 0

    def told(self, used: int) -> dict[str, Any]:
        return {
            "id": self.number,
            "first_name": "Ann",
            "last_name": f"Author {self.number}",
            "email": "ann@example.org",
            "quota": self.quota,
            "used_quota": used,
            "used_quota_private": used,
            "used_quota_public": 0,
            "maximum_file_size": self.most,
            "institution_id": self.institution,
            "institution_user_id": "",
            "group_id": 0,
            "pending_quota_request": False,
            "active": 1,
            "created_date": _DAY,
            "modified_date": _DAY,
        }


@dataclass
class File:
    """A file and its upload."""

    number: int
    name: str
    size: int
    md5: str
    part_size: int
    folder: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    parts: dict[int, bytes] = field(default_factory=dict)
    locked: dict[int, float] = field(default_factory=dict)
    whole: bytes | None = None
    looks: int = 0
    aborted: bool = False
    link: str = ""

    def ranges(self) -> list[tuple[int, int]]:
        return [(at, min(at + self.part_size, self.size)) for at in range(0, self.size, self.part_size)]

    @property
    def computed(self) -> str:
        """Empty until the file has been looked at often enough: it takes a while."""
        return hashlib.md5(self.whole).hexdigest() if self.whole is not None and self.looks <= 0 else ""

    def told(self, base: str, *, own: bool, attached: bool) -> dict[str, Any]:
        status = "created" if self.whole is None else ("available" if self.computed else "ic_checking")
        public = {
            "id": self.number,
            "name": self.name,
            "size": self.size,
            "is_link_only": bool(self.link),
            "download_url": self.link or f"{base}ndownloader/files/{self.number}",
            "supplied_md5": "" if self.link else self.md5,
            "computed_md5": "" if self.link else self.computed,
            "mimetype": "",
        }
        private = {
            "status": status,
            "viewer_type": "",
            "preview_state": "preview_not_available",
            "upload_url": f"{base}upload/{self.token}",
            "upload_token": self.token,
            "is_attached_to_public_version": attached,
        }
        return {**public, **private} if own else public


@dataclass
class Article:
    """A draft, and the versions that were made of it."""

    number: int
    owner: int
    draft: dict[str, Any]
    files: list[int] = field(default_factory=list)
    versions: list[tuple[dict[str, Any], tuple[int, ...]]] = field(default_factory=list)
    locked: float = 0.0
    lag: int = 0
    doi: str = ""

    def told(self, base: str, files: list[dict[str, Any]], state: dict[str, Any], version: int) -> dict[str, Any]:
        url = f"{base}v2/articles/{self.number}"
        public = bool(self.versions)
        license_ = next((item for item in LICENSES if item["value"] == state.get("license")), LICENSES[0])
        authors = [
            {
                "id": at + 1,
                "full_name": a.get("name") or f"{a.get('first_name', '')} {a.get('last_name', '')}".strip(),
                "first_name": "",
                "last_name": "",
                "is_active": True,
                "url_name": "_",
                "orcid_id": a.get("orcid_id", ""),
            }
            for at, a in enumerate(state.get("authors", [{"name": f"Ann Author {self.owner}"}]))
        ]
        return {
            **_WITHOUT,
            "id": self.number,
            "title": state["title"],
            "doi": self.doi,
            "handle": "",
            "url": url,
            "url_public_html": url,
            "url_public_api": url,
            "url_private_html": url,
            "url_private_api": url,
            "figshare_url": url,
            "published_date": _DAY if public else None,
            "timeline": dict.fromkeys(_TIMES, _DAY),
            "thumb": url,
            "defined_type": 3,
            "defined_type_name": "dataset",
            "size": sum(item["size"] for item in files),
            "authors": authors,
            "tags": state.get("tags", []),
            "version": version,
            "is_metadata_record": bool(state.get("is_metadata_record")),
            "status": "public" if public else "draft",
            "description": state.get("description", ""),
            "is_embargoed": bool(state.get("is_embargoed")),
            "embargo_date": state.get("embargo_date"),
            "is_public": public,
            "modified_date": _DAY,
            "created_date": _DAY,
            "categories": [c for c in CATEGORIES if c["id"] in state.get("categories", [])],
            "license": license_,
            "download_disabled": False,
            # the first ones only, as Figshare does: the whole list has pages
            "files": files[:10],
            "account_id": self.owner,
            "group_resource_id": None,
        }
