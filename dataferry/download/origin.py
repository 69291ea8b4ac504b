"""What every request to one origin (scheme, host, port) needs: login, proxy, certificates, and a URL fit to be sent."""

from __future__ import annotations

import atexit
import base64
import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from ..config.credentials import is_loopback, may_get_login, netrc_login
from ..errors import Reason, SettingsError, TransferError
from ..files import read_regular
from ..registry.names import redact_url

if TYPE_CHECKING:
    from ..config.settings import Settings


ROOT_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PORTS = {"http": 80, "https": 443}
_UNFIT_FOR_URL = re.compile(r"[^\x21-\x7e]")
_UNFIT_FOR_VALUE = re.compile(r"[^\x20-\x7e\t]")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def host_option(settings: Settings, url: SplitResult, name: str) -> Any:
    """What the user's settings say of one host; ``host:port`` is looked up before ``host``."""
    hosts: Mapping[str, Any] = settings.hosts
    if not hosts:
        return None
    for key in (url.netloc.rpartition("@")[2], url.hostname or ""):
        options = hosts.get(key)
        if options is not None:
            value = options.get(name) if isinstance(options, Mapping) else getattr(options, name, None)
            if value is not None:
                return value
    return None


# -- logins ------------------------------------------------------------------------------------------------------------


def basic(user: str, password: str) -> str:
    """The value of an ``Authorization`` header for user and password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def authorization(url: SplitResult, settings: Settings, *, redirected: bool = False) -> str | None:
    """The ``Authorization`` header for a URL: its own user and password, the settings, then ``.netrc``."""
    if url.username is not None:
        return basic(unquote(url.username), unquote(url.password or ""))
    if settings.anonymous or not may_get_login(url.scheme, url.hostname or ""):
        return None
    if token := host_option(settings, url, "token"):
        return f"Bearer {token}"
    if user := host_option(settings, url, "user"):
        return basic(str(user), str(host_option(settings, url, "password") or ""))
    if redirected:
        return None  # .netrc is for the place that was asked for, and not for where it sends us
    login = netrc_login(url.hostname or "")
    return basic(*login) if login else None


# -- proxies -----------------------------------------------------------------------------------------------------------


def proxy_for(url: SplitResult) -> str | None:
    """The proxy for a URL, from ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` or the system.

    libcurl reads only some of these variables, and names none of them in its errors; networks in ``NO_PROXY`` it knows.
    """
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    kind = next((kind for kind in (url.scheme, "all") if proxies.get(kind, "").strip()), None)
    if kind is None or proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    return _usable_proxy(proxies[kind].strip(), kind)


def _usable_proxy(proxy: str, kind: str) -> str:
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        known = parts.scheme in {"http", "https", "socks4", "socks4a", "socks5", "socks5h"}
        fit = known and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fit = False
    if not fit or "@" in f"{parts.path}{parts.query}{parts.fragment}" or _UNFIT_FOR_URL.search(proxy):
        # The text of the proxy is not repeated: its login could be anywhere in it.
        variable = next(
            (name for name, value in os.environ.items() if name.lower() == f"{kind}_proxy" and value.strip() == proxy),
            f"the system's {kind} proxy",
        )
        raise SettingsError(
            f"{variable} is not http://HOST:PORT (or https, socks5h...) of a proxy; in a user and password before it "
            "write / as %2F, ? as %3F, # as %23, : as %3A, @ as %40 and a blank as %20"
        )
    return parts.geturl()


# -- certificates ------------------------------------------------------------------------------------------------------


def trusted_roots(ca_bundle: str | None = None) -> tuple[str, str]:
    """A file and a directory of trusted roots: the system's, certifi's, those of variables and of a host's own."""
    named = [(name, os.environ[name]) for name in ROOT_VARIABLES if os.environ.get(name)]
    if ca_bundle:
        named.append(("ca_bundle", os.path.expanduser(ca_bundle)))
    return _merged_roots(tuple(named))


@lru_cache(maxsize=16)
def _merged_roots(named: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    import ssl

    import certifi

    # OpenSSL, which defines SSL_CERT_DIR, takes several there, and passes over one that is not there; so does libcurl.
    several = [place.split(os.pathsep) if name == "SSL_CERT_DIR" else [place] for name, place in named]
    folders = [place for places in several for place in places if os.path.isdir(place)]
    system = ssl.get_default_verify_paths().cafile
    files = [("the system", system)] if system else []
    files += [("certifi", certifi.where())]
    files += [(name, place) for name, place in named if name != "SSL_CERT_DIR" and place not in folders]
    texts: dict[bytes, None] = {}
    for name, place in files:
        try:
            roots = read_regular(place)
            if b"-----BEGIN " not in roots:
                raise OSError("it contains no PEM certificate")
        except OSError as error:
            if name == "SSL_CERT_FILE":
                continue  # OpenSSL, which defines it, passes over one that is not there
            reason = error.strerror or error
            raise SettingsError(f"{name} names {place!r}, which contains no readable certificates: {reason}") from error
        texts[roots] = None
    # libcurl takes one file, and reads it once for all connections; a directory is read again for each of them.
    if len(texts) == 1:
        return files[0][1], os.pathsep.join(folders)
    return _in_one_file(b"\n".join(texts)), os.pathsep.join(folders)


def client_certificate(settings: Settings, url: SplitResult) -> list[str]:
    """The file of the user's certificate for a server, and the one of its key if that is another; empty if none."""
    named = host_option(settings, url, "client_cert") or []
    paths = [os.path.expanduser(path) for path in ([named] if isinstance(named, str) else named)]
    for path in paths:
        try:
            read_regular(path)  # OpenSSL would wait for the end of a FIFO
        except OSError as error:
            reason = f"client_cert names {path!r}, which cannot be read: {error.strerror or error}"
            raise TransferError(url.netloc, reason, kind=Reason.TLS, final=True) from error
    return paths


def _in_one_file(text: bytes) -> str:
    """A file that is there as long as this process and those that it forks."""
    in_memory = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")
    if in_memory:
        handle = os.memfd_create("dataferry-roots")
        path = f"/proc/self/fd/{handle}"
    else:
        handle, path = tempfile.mkstemp(".pem", "dataferry-roots-")
        _remove_at_exit(path, os.getpid())
    with open(handle, "wb", closefd=not in_memory) as file:
        file.write(text)
    return path


def _remove_at_exit(path: str, process: int) -> None:
    def remove() -> None:
        if os.getpid() == process:  # and not a forked child
            os.unlink(path)

    atexit.register(remove)


# -- URLs and headers --------------------------------------------------------------------------------------------------


def check_url(url: str, place: str) -> SplitResult:
    """The parts of a URL that can be asked for; a `TransferError` about `place` otherwise."""
    try:
        parts = urlsplit(url)
        fit = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fit = False
    if not fit or _UNFIT_FOR_URL.search(url):
        raise TransferError(place, f"{redact_url(url)!r} is not an http or https URL", kind=Reason.URL, final=True)
    return parts


def check_headers(headers: Iterable[tuple[str, str]], place: str) -> list[str]:
    """Headers as they are sent; a `TransferError` about `place` where one of them is not a single legal field."""
    lines = []
    for name, value in headers:
        if _UNFIT_FOR_URL.search(name) or ":" in name or not name or _UNFIT_FOR_VALUE.search(value):
            raise TransferError(place, f"the header {name!r} is not legal", kind=Reason.URL, final=True)
        lines.append(f"{name}: {value}" if value else f"{name};")  # libcurl's spelling of an empty value
    return lines


def redirect_target(url: str, location: bytes, place: str) -> str:
    """Where a redirect leads to; a `TransferError` about `place` where nobody should follow it."""
    # Servers put blanks and umlauts there (nginx: return 301 http://...$uri); curl and browsers quote them.
    target = quote(location, safe=_PRINTABLE)
    with contextlib.suppress(ValueError):  # half an address of IPv6, which `check_url` refuses
        target = urljoin(url, target).partition("#")[0]
    here, there = urlsplit(url), check_url(target, place)
    if here.scheme == "https" and there.scheme == "http" and not is_loopback(there.hostname or ""):
        raise TransferError(place, f"redirects from https to {redact_url(target)}", kind=Reason.REDIRECT, final=True)
    return target
