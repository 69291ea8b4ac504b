"""Where stores serve public files by HTTPS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["public_base"]


def public_base(protocol: str, url: SplitResult, options: Mapping[str, Any]) -> str:
    """The base URL at which strangers get the files of a store, if its protocol has one.

    Parameters
    ----------
    protocol : str
        ``gs``, ``abfs``, ``hf``...
    url : urllib.parse.SplitResult
        The declaration, without its query.
    options : mapping of str to object
        Its query.

    Returns
    -------
    str
        With a slash at its end; empty where there is none.
    """
    path = quote(url.path)
    if protocol in {"gs", "gcs"}:
        return f"https://storage.googleapis.com/{url.netloc}{path}"
    if protocol in {"abfs", "abfss", "az"}:
        container, at, endpoint = url.netloc.partition("@")
        account = endpoint.partition(".")[0] if at else str(options.get("account_name", ""))
        return f"https://{account}.blob.core.windows.net/{container}{path}" if account else ""
    if protocol == "hf":
        return _hugging_face(url.netloc + url.path)
    return ""


def _hugging_face(path: str) -> str:
    kinds = ("datasets", "spaces")
    parts = path.strip("/").split("/")
    kind = [parts.pop(0)] if parts[0] in kinds else []
    if len(parts) < 2:
        return ""
    owner, repo, *below = parts
    repo, _, revision = repo.partition("@")
    folder = "/".join([*kind, owner, repo, "resolve", quote(revision or "main", safe=""), *map(quote, below)])
    return f"https://huggingface.co/{folder}/"
