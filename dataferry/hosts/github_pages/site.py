"""What stands beside the data on a site: the page that lists them, and how large all of it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ...errors import TransferError
from ...registry.checksum_lists import Listed
from ..api_client import ApiClient
from ..github import api_url

if TYPE_CHECKING:
    from ...config.credentials import Token
    from ...config.settings import Settings
    from ..base import Upload
    from . import GitHubPagesHost

__all__ = ["MARK", "blob_of", "front_matter", "index_page", "sizes_in_tree"]

#: By this a page is known as one that may be written anew.
MARK = b'<meta name="generator" content="dataferry">'


def index_page(files: Mapping[str, Listed], title: str) -> bytes:
    """A page that lists files.

    Parameters
    ----------
    files : mapping of str to Listed
        The files.
    title : str
        What the data are called.

    Returns
    -------
    bytes
        HTML.
    """
    rows = []
    for name in sorted(files):
        size, sha256 = files[name]
        link = f'<a href="./{escape(quote(name), quote=True)}">{escape(name)}</a>'
        rows.append(f"<tr><td>{link}</td><td>{size:,}</td><td><code>{sha256}</code></td></tr>\n")
    style = "body{font:16px/1.5 system-ui,sans-serif;margin:2em}td,th{padding:.1em 1em .1em 0;text-align:left}"
    head = f'<meta charset="utf-8">\n{MARK.decode()}\n<meta name="viewport" content="width=device-width">\n'
    caption = escape(title or "Data files")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}<title>{caption}</title>\n<style>{style}</style>\n</head>\n'
        f"<body>\n<h1>{caption}</h1>\n<table>\n<tr><th>file</th><th>bytes</th><th>sha256</th></tr>\n{''.join(rows)}"
        "</table>\n</body>\n</html>\n"
    ).encode()


def sizes_in_tree(host: GitHubPagesHost, settings: Settings, token: Token | None, commit: str) -> dict[str, int]:
    """The sizes of all files of a commit, from the API: git itself would fetch the files to know them.

    Parameters
    ----------
    host : GitHubPagesHost
        The host.
    settings : Settings
        The user's settings.
    token : Token or None
        The user's token.
    commit : str
        The commit.

    Returns
    -------
    dict of str to int
        Path -> bytes; empty where there is no such API.
    """
    parts = urlsplit(host.git)
    if parts.scheme not in {"http", "https"}:
        return {}
    headers = {"Accept": "application/vnd.github+json"} | ({"Authorization": f"Bearer {token.secret}"} if token else {})
    with ApiClient(settings, api_url(f"{parts.scheme}://{parts.netloc}"), headers=headers) as api:
        try:
            told = api.call("GET", f"repos/{host.repository}/git/trees/{commit}", query={"recursive": "1"}).json()
        except TransferError:
            return {}
    tree = told.get("tree") if isinstance(told, dict) else None
    return {
        str(item["path"]): int(item["size"])
        for item in (tree if isinstance(tree, list) else ())
        if isinstance(item, dict) and item.get("type") == "blob" and isinstance(item.get("size"), int)
    }


def blob_of(upload: Upload, digits: int) -> str:
    """Git's id of a file, in a repository whose ids have so many digits."""
    digest = hashlib.sha256() if digits == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % upload.size)
    with open(upload.path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def front_matter(upload: Upload) -> bool:
    """Whether Jekyll takes a file for a page or a style that it has to make."""
    with open(upload.path, "rb") as file:
        start = file.read(4)
    return start in {b"---\n", b"---\r"} or upload.name.endswith((".md", ".markdown", ".scss", ".sass"))
