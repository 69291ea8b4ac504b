"""Reading: which files an article has, and where each one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...download.source import Source
from ...errors import TransferError
from ..base import HostedFile
from .flat import full_name
from .interface import VARIABLE, Interface, token_for

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from . import FigshareHost
    from .declared import Declared

__all__ = ["article_of_doi", "as_held", "hosted", "look_up"]

Files = list[dict[str, Any]]


def look_up(host: FigshareHost, wanted: Mapping[str, Entry | None], settings: Settings) -> dict[str, Sequence[Source]]:
    """Where files are, by the article's list.

    Parameters
    ----------
    host : FigshareHost
        The article.
    wanted : mapping of str to Entry or None
        The files.
    settings : Settings
        The user's settings.

    Returns
    -------
    dict of str to sequence of Source
        What the article has.

    Raises
    ------
    TransferError
        If it could not be asked, or cannot be read; the message says why.
    """
    files, login = _files(host, settings)
    found: dict[str, Sequence[Source]] = {}
    for name, item in _by_name(files, wanted).items():
        if name in wanted:
            linked = item.get("is_link_only") and item.get("download_url")
            # a file that only is linked lies elsewhere, and the token is nobody else's business
            found[name] = [Source(linked, host.redacted)] if linked else host.downloads(item["id"], login)
    return found


def hosted(host: FigshareHost, settings: Settings) -> dict[str, HostedFile]:
    """All files of an article.

    Parameters
    ----------
    host : FigshareHost
        The article.
    settings : Settings
        The user's settings.

    Returns
    -------
    dict of str to HostedFile
        By name.

    Raises
    ------
    TransferError
        If it could not be asked, or cannot be read; the message says why.
    """
    files, _ = _files(host, settings)
    return {name: as_held(item) for name, item in _by_name(files, {}).items()}


def as_held(item: Mapping[str, Any]) -> HostedFile:
    """What Figshare says of a file.

    Parameters
    ----------
    item : mapping
        A file of an article's list.

    Returns
    -------
    HostedFile
        Size, md5 and locator.
    """
    linked = bool(item.get("is_link_only"))
    md5 = str(item.get("computed_md5") or item.get("supplied_md5") or "").lower()
    return HostedFile(None if linked else item.get("size"), md5=md5 or None, locators={"figshare": int(item["id"])})


def article_of_doi(interface: Interface, declared: Declared, place: str) -> int:
    """The id of the article with a DOI.

    Parameters
    ----------
    interface : Interface
        Who is asked.
    declared : Declared
        The line with the DOI.
    place : str
        The line as it may be shown.

    Returns
    -------
    int
        The id.

    Raises
    ------
    TransferError
        If no article has the DOI, or it cannot be asked.
    """
    tried = [declared.doi] if declared.version is None else [f"{declared.doi}.v{declared.version}", declared.doi]
    for doi in tried:
        for item in interface.get("articles", {"doi": doi, "page_size": 10}):
            known = str(item.get("doi", "")).lower()
            if known == doi or known.rpartition(".v")[0] == doi:
                return int(item["id"])
    raise TransferError(
        place,
        f"no public article of Figshare has the DOI {declared.doi}: it is another archive's, a draft's, or mistyped",
        kind="status",
        final=True,
    )


def _files(host: FigshareHost, settings: Settings) -> tuple[Files, dict[str, str]]:
    """The files, each with its ``folder``, and what says who asks where they are private."""
    declared = host.declared
    if declared.new:
        raise TransferError(
            host.redacted, "this article is yet to be made: publish to it first", kind="list", final=True
        )
    with Interface(settings, declared) as anybody:
        article = declared.article or article_of_doi(anybody, declared, host.redacted)
        path = f"articles/{article}/versions/{declared.version}" if declared.version else f"articles/{article}"
        details = anybody.find(path)
        if details is not None and details.get("files"):
            return _in_folders(anybody.pages(f"{path}/files"), details), {}
        if details is not None:
            reason = _why_none(details)
        elif declared.version and anybody.find(f"articles/{article}") is not None:
            reason = f"there is no version {declared.version}"
        else:
            reason = f"there is no public article {article}"
    token = token_for(declared, settings, publishing=False)
    if token is not None:
        with Interface(settings, declared, token) as owner:
            for _ in range(2):
                if (own := owner.find(f"account/articles/{article}")) is not None:
                    return _in_folders(owner.pages(f"account/articles/{article}/files"), own), owner.login
                owner.other_form()
        reason += f", and the token in {token.origin} opens no private one"
    else:
        reason += (
            f"; who may see a private one needs a token in {VARIABLE}, or as token under "
            f'[hosts."{urlsplit(declared.api).netloc}"] of config.toml'
        )
    raise TransferError(host.redacted, reason, kind="list", final=True)


def _why_none(details: Mapping[str, Any]) -> str:
    if details.get("is_embargoed"):
        until = str(details.get("embargo_date") or "")[:10]
        return "its files are under embargo" + (f" until {until}" if until else "")
    if details.get("download_disabled"):
        return "its authors have disabled the download of its files"
    if details.get("is_metadata_record"):
        return "it is a record without files"
    return "it has no files"


def _in_folders(files: Files, details: Mapping[str, Any]) -> Files:
    folders = details.get("folder_structure") or {}
    return [{**item, "folder": str(folders.get(str(item["id"])) or "")} for item in files]


def _by_name(files: Files, wanted: Mapping[str, Entry | None]) -> dict[str, dict[str, Any]]:
    """The newest file of each name; of two with the same name the one that has the registered size."""
    named: dict[str, dict[str, Any]] = {}
    for item in sorted(files, key=lambda item: int(item["id"])):
        name = full_name(str(item["name"]), item["folder"])
        before, entry = named.get(name), wanted.get(name)
        fits = entry is not None and before is not None and before.get("size") == entry.size != item.get("size")
        if not fits:
            named[name] = item
    return named
