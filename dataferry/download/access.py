"""Who is asked and as whom: proxies from the environment; passwords and tokens for exactly one host."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..config.settings import Settings

__all__ = ["authorization", "basic", "host_option", "proxy_for"]


def host_option(settings: Settings, url: SplitResult, name: str) -> Any:
    """What the user's settings say of one host.

    Parameters
    ----------
    settings : Settings
        The settings.
    url : urllib.parse.SplitResult
        A URL at the host; ``host:port`` is looked up before ``host``.
    name : str
        The option: ``token``, ``user``, ``password``, ``ca_bundle``, ``client_cert``, ``connections``, ``rate``.

    Returns
    -------
    object or None
        The value; None where the settings say nothing.
    """
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


def basic(user: str, password: str) -> str:
    """The value of an ``Authorization`` header for user and password.

    Parameters
    ----------
    user, password : str
        The credentials.

    Returns
    -------
    str
        ``Basic ...``.
    """
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def authorization(url: SplitResult, settings: Settings) -> str | None:
    """The ``Authorization`` header for a URL: its own user and password, the settings, then ``.netrc``.

    Parameters
    ----------
    url : urllib.parse.SplitResult
        The URL; only credentials of exactly this host are used.
    settings : Settings
        The settings.

    Returns
    -------
    str or None
        None if nobody gave credentials for this host.
    """
    if url.username is not None:
        return basic(unquote(url.username), unquote(url.password or ""))
    if settings.anonymous:
        return None
    token = host_option(settings, url, "token")
    if token:
        return f"Bearer {token}"
    user = host_option(settings, url, "user")
    if user:
        return basic(str(user), str(host_option(settings, url, "password") or ""))
    return _from_netrc(url.hostname or "")


def _from_netrc(host: str) -> str | None:
    import netrc

    for place in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        path = os.path.expanduser(place) if place else ""
        if path and os.path.isfile(path):
            try:
                found = netrc.netrc(path).authenticators(host)
            except (netrc.NetrcParseError, OSError, UnicodeError):
                # A .netrc that cannot be used must not stop a download that may not need it.
                return None
            # The default entry is for any host: sending it to whoever is asked would give a password away.
            if found and host in netrc.netrc(path).hosts:
                return basic(found[0] or found[1] or "", found[2] or "")
            return None
    return None


def proxy_for(url: SplitResult) -> str | None:
    """The proxy for a URL, from ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` or the system.

    Parameters
    ----------
    url : urllib.parse.SplitResult
        The URL.

    Returns
    -------
    str or None
        The proxy's URL, perhaps with credentials; None to go there directly.

    Raises
    ------
    SettingsError
        If the proxy is not one of HTTP, or its URL cannot be understood; the message names the variable.
    """
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    kind = next((kind for kind in (url.scheme, "all") if proxies.get(kind)), None)
    if kind is None or proxy_bypass(url.netloc.rpartition("@")[2]) or _in_excluded_network(url.hostname, proxies):
        return None
    return _usable(proxies[kind], kind)


def _usable(proxy: str, kind: str) -> str:
    """The URL of a proxy, if it can be used; an error shows nothing of it, since its login could be anywhere in it."""
    if proxy.lower().startswith("socks"):
        raise SettingsError(
            f"{_variable(proxy, kind)} names a SOCKS proxy; dataferry goes through http and https proxies only: name "
            "one of those, or the hosts that need none in no_proxy"
        )
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        right = False
    if not right or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise SettingsError(
            f"{_variable(proxy, kind)} is not http://HOST:PORT or https://HOST:PORT of a proxy; in a user and password "
            "before it write / as %2F, ? as %3F, # as %23, : as %3A and @ as %40"
        )
    return parts.geturl()


def _variable(proxy: str, kind: str) -> str:
    """The variable that names a proxy."""
    said = (name for name, value in os.environ.items() if name.lower() == f"{kind}_proxy" and value == proxy)
    return next(said, f"the system's {kind} proxy")


def _in_excluded_network(host: str | None, proxies: Mapping[str, str]) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    for item in proxies.get("no", "").split(","):
        try:
            if address in ipaddress.ip_network(item.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False
