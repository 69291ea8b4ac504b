"""One file of a registry, and the check of what somebody wrote about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import RegistryError
from .names import LARGEST, check_name, shortened

_is_sha256 = re.compile(r"[0-9a-fA-F]{64}").fullmatch


def is_url(text: str) -> bool:
    """Whether a text is a URL; one letter in front of a colon is a drive of Windows."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+:\S+", text) is not None


class Entry(NamedTuple):
    """What the registry knows of one file.

    Parameters
    ----------
    name : str
        The file's name.
    sha256 : str
        64 hexadecimal digits in lower case.
    size : int or None
        Bytes; None where the registry was read from a list without sizes.
    locators : mapping of str to str or int
        What single hosts need to find the file: host name -> id. ``url`` has the file's own URLs, with spaces between.
    """

    name: str
    sha256: str
    size: int | None = None
    locators: Mapping[str, str | int] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        """The file's own URLs, asked before ``dataurl``."""
        return tuple(str(self.locators.get("url", "")).split())


def check_entry(name: object, sha256: object, size: object, locators: Mapping[str, object] | None = None) -> Entry:
    """An entry of what a file or a host says, if every part of it is legal.

    Raises
    ------
    RegistryError, BadName
        If something is not; the message names the file, and not where that was read.
    """
    name = check_name(name)
    if sha256 is None:
        raise RegistryError(f"sha256 of {name!r} is missing")
    if not isinstance(sha256, str) or not _is_sha256(sha256):
        other = isinstance(sha256, str) and sha256.startswith(("md5:", "sha1:", "sha512:"))
        hint = "; 'dataferry add PACKAGE --from LIST' reads other hashes, and computes it" if other else ""
        raise RegistryError(f"sha256 of {name!r} is 64 hexadecimal digits, not {shortened(sha256)}{hint}")
    if size is not None and (type(size) is not int or not 0 <= size <= LARGEST):
        raise RegistryError(f"size of {name!r} is a number of bytes, not {shortened(size)}")
    if not locators:
        return Entry(name, sha256.lower(), size)
    found: dict[str, Any] = dict(locators)
    if "url" in found:
        found["url"] = _joined(name, found["url"])
    for key, value in found.items():
        if type(value) is not str and (type(value) is not int or abs(value) > LARGEST):
            raise RegistryError(f"{key} of {name!r} is a string or an integer, not {shortened(value)}")
    return Entry(name, sha256.lower(), size, found)


def _joined(name: str, value: object) -> str:
    """The URLs of a file, which hold no spaces, as one locator."""
    urls = value.split() if isinstance(value, str) else value
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) and is_url(url) for url in urls):
        raise RegistryError(f"url of {name!r} is a URL or a list of URLs, not {shortened(value)}")
    return " ".join(urls)
