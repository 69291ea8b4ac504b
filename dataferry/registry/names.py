"""What a legal name is, and what a legal base URL is.

A name is the POSIX path of a file within a package's data. The same string is a path on disk, the end of a URL and a
part of astropy's cache key, so it must mean the same in all three.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import BadName

#: Bytes in one part of a name, as file systems allow.
LONGEST_PART = 255
#: Bytes in a whole name, so that a cache folder in front of it still fits a path.
LONGEST_NAME = 1024
#: The most bytes of a file.
LARGEST = (1 << 63) - 1

_PLAIN = re.compile(r"[A-Za-z0-9_+=@,][A-Za-z0-9_.+=@,-]*(?:/[A-Za-z0-9_+=@,][A-Za-z0-9_.+=@,-]*)*").fullmatch
#: Most URLs, and their port: nothing in them is secret, and a look at their parts would take ten times as long.
_PLAIN_URL = re.compile(r"https?://[\w.-]+(?::([0-9]+))?/[\w.~%+,/-]*", re.ASCII).fullmatch
#: Where a server is named, also by a host of its own kind: ``webdav:https://host/path/``.
_SERVER = r"((?:[\w+.-]*:)*//)((?s:.*))"
_HOST = r"(?:|localhost|\[[^\]]*\]|[\w-]*\.[\w.-]*)(?::\d*)?"
#: A host with a port that cannot be a user and the beginning of a password.
_HOST_AND_PORT = r"(?:localhost|\[[^\]]*\]|\d+(?:\.\d+){3}):\d*"


def check_name(name: object) -> str:
    """Return a name if it is legal; raises `BadName` with the reason if it is not."""
    if isinstance(name, str) and len(name) <= LONGEST_PART and _PLAIN(name):
        return name
    return _check_slowly(name)


def is_name(name: object) -> bool:
    """Whether a name is legal."""
    try:
        check_name(name)
    except BadName:
        return False
    return True


def shortened(value: object) -> str:
    """A value for an error text."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return "so large a number"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a.a.a... of TOML, or thousands of digits within a list
        return f"so large a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def check_prefix(path: str) -> str:
    """A path in front of names, as a URL has it: empty, or a legal name and a slash; raises `BadName`."""
    from urllib.parse import unquote

    path = unquote(path).strip("/")
    return f"{check_name(path)}/" if path else ""


def quoted_name(name: str) -> str:
    """A name as the end of a URL: only what would end or change a path is quoted."""
    from urllib.parse import quote

    return quote(name, safe="/~!$&'()*,;=:@+")


def _check_slowly(name: object) -> str:
    import unicodedata

    if not isinstance(name, str):
        raise BadName(f"a name is a string, not {type(name).__name__}: {shortened(name)}")

    def bad(why: str) -> BadName:
        return BadName(f"{shortened(name)} is not a legal name: {why}")

    if not name:
        raise bad("it is empty")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise bad("it holds half a character (a surrogate)") from None
    if len(encoded) > LONGEST_NAME:
        raise bad(f"it has {len(encoded)} bytes, and at most {LONGEST_NAME} are allowed")
    if any(unicodedata.category(c) in {"Cc", "Zl", "Zp"} for c in name):
        raise bad("it holds a control character")
    if "\\" in name:
        raise bad("it holds a backslash; names use '/'")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise bad("it is absolute; names are relative to the package's data")
    if re.search("%[0-9A-Fa-f]{2}", name):
        raise bad("it holds a percent escape; write the character itself")
    if "?" in name or "#" in name:
        raise bad("'?' and '#' end the path of a URL")
    composed = unicodedata.normalize("NFC", name)
    if composed != name:
        raise bad(f"it is in Unicode's decomposed form (NFD); write {composed!r} in the composed form (NFC)")
    for part in name.split("/"):
        if part == "":
            raise bad("it holds an empty part; names have single slashes and no slash at the end")
        if part == ".":
            raise bad("it holds '.'; a file has one name, without it")
        if part == "..":
            raise bad("it holds '..', which could leave the package's data")
        if part != part.strip():
            raise bad("a part of it starts or ends with a space")
        if len(part.encode()) > LONGEST_PART:
            raise bad(f"a part of it has {len(part.encode())} bytes, and file systems take {LONGEST_PART} at most")
    return name


def check_url(url: object, what: str = "dataurl") -> str:
    """Return a base URL if names can be joined to it.

    Parameters
    ----------
    url : str
        The URL, ``https://host/path/``.
    what : str
        What the URL is for, to be named in the error.

    Returns
    -------
    str
        The same URL.

    Raises
    ------
    BadName
        If it is not ``http`` or ``https``, has no host, does not end with a slash, or has a query or a fragment.
    """
    if not isinstance(url, str):
        raise BadName(f"{what} is a string, not {type(url).__name__}")
    plain = _PLAIN_URL(url)
    if plain and url.endswith("/") and int(plain[1] or 0) < 1 << 16:
        return url
    from unicodedata import category
    from urllib.parse import urlsplit

    if any(c.isspace() or category(c) == "Cc" for c in url):
        raise BadName(f"{what} contains a space or a control character")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text may hold a password
        raise BadName(f"{what} {redact_url(url)!r} is not a URL: it has no host and port that can be read") from None
    redacted = redact_url(url)
    if parts.scheme not in {"http", "https"} or not host:
        raise BadName(f"{what} {redacted!r} is not an http or https URL with a host")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise BadName(
            f"{what} {redacted!r} has a query or a fragment; "
            "names are joined to its end, so it must be a plain folder URL"
        )
    if not url.endswith("/"):
        raise BadName(f"{what} {redacted!r} must end with a slash: names are joined to it as they are")
    return url


def split_options(spec: str) -> tuple[str, dict[str, str]]:
    """The rest of a declaration and what follows its ``?``, as it stands: a URL in it is quoted already."""
    rest, _, query = spec.partition(":")[2].partition("?")
    items = (item.partition("=") for item in query.split("&") if item)
    return rest, {key: value for key, _, value in items}


_LOGIN_KEYS = (
    r"(?i)(?:.*[-_])?(?:token|password|passwd|secret|signature|sig|credential|credentials|api[-_]?key|access[-_]?key)"
)


def check_public(spec: str) -> str:
    """Return a URL or a host's line if everybody may read it; raises `BadName` if it holds a login or a secret."""
    from urllib.parse import parse_qsl

    server = re.match(_SERVER, spec)
    authority = _authority(server[2]) if server is not None else ""
    host = authority.rpartition("@")[2].partition(":")[0] or "the.host"
    belongs = f'a registry is public, and a login belongs to [hosts."{host}"] of config.toml'
    # abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/ is how Azure names a container, and no login
    azure = re.match(r"(?:fsspec:)?abfss?://[^:@/]*@", spec, re.IGNORECASE)
    if "@" in authority and not azure:
        raise BadName(f"{redact_url(spec)} was given with a user or a password: {belongs}")
    query = spec.partition("#")[0].partition("?")[2]
    for key, _ in parse_qsl(query, keep_blank_values=True):
        if re.fullmatch(_LOGIN_KEYS, key):
            raise BadName(f"{redact_url(spec)} was given with a secret ({key}): {belongs}")
    return spec


def redact_url(url: str) -> str:
    """A URL as it may be printed: no user and password, no values of a query.

    Where nobody can say what is a password, as in ``http://a.b:12/34@host/``, all that may be one goes.
    """
    if _PLAIN_URL(url):
        return url
    from urllib.parse import parse_qsl

    server = re.match(_SERVER, url)
    if server is not None:
        url = server[1] + _without_login(server[2])
    path, _, query = url.partition("#")[0].partition("?")
    keys = "&".join(f"{key}=..." for key, _ in parse_qsl(query, keep_blank_values=True))
    return f"{path}?{keys}" if keys else path


def _without_login(rest: str) -> str:
    """What follows ``//`` without user and password, also where these hold what had to be quoted in them."""
    authority = _authority(rest)
    rest = rest[len(authority) :]
    host = authority.rpartition("@")[2]
    if "@" not in rest:
        return host + rest
    before, _, after = rest.rpartition("@")
    path = re.split("[?#]", rest, maxsplit=1)[0]
    # an "@" further on is part of a path only if what is before it can be a host, and not half of a login
    if re.fullmatch(_HOST, host) and path and ":" not in path.rpartition("@")[0]:
        if ":" not in host or re.fullmatch(_HOST_AND_PORT, host):
            return host + rest
        # behind a "?" the rest may be the end of a signature
        return "..." if "?" in before else f"...@{after}"
    return after if "?" not in before or re.fullmatch(_HOST, _authority(after)) else "..."


def _authority(after_slashes: str) -> str:
    return re.split("[/?#]", after_slashes, maxsplit=1)[0]


def close_names(name: str, names: Iterable[str]) -> list[str]:
    """Names that look like one that was asked for: at most three; those that share the last part come first."""
    import difflib

    known = list(names)
    last = name.rpartition("/")[2].lower()
    same = [n for n in known if n.rpartition("/")[2].lower() == last][:3]
    if len(known) > 5000:  # difflib is quadratic; a big registry is narrowed first
        known = [n for n in known if n[:4] == name[:4] or n.rpartition("/")[2][:4].lower() == last[:4]][:5000]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return list(dict.fromkeys([*same, *close]))[:3]
