"""The one place where errors of the network and of the disk become errors of dataferry."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl

import urllib3.exceptions

from ..errors import CacheError, DataferryError, TransferError

__all__ = ["blame", "blame_file", "disk_error"]


def blame(exc: BaseException, place: str, proxy: str | None = None) -> TransferError:
    """Name what went wrong with one source.

    Parameters
    ----------
    exc : BaseException
        What the network's libraries raised.
    place : str
        The source as it may be shown.
    proxy : str, optional
        The proxy as it may be shown, if there is one.

    Returns
    -------
    TransferError
        To be raised.
    """
    if isinstance(exc, TransferError):
        return exc
    root = _root(exc)
    via = f" through the proxy {proxy}" if proxy else ""
    if proxy and "Tunnel connection failed" in str(exc):
        text = str(root).partition("Tunnel connection failed:")[2].strip()
        hint = "; give user and password in the proxy's URL" if text.startswith("407") else ""
        return TransferError(
            place, f"the proxy {proxy} answered {text}{hint}", kind="proxy", final=text.startswith("4")
        )
    if isinstance(root, ssl.SSLCertVerificationError):
        reason = f"the certificate is not trusted: {root.verify_message or root}; is an own CA needed (ca_bundle)?"
        return TransferError(place, reason, kind="tls", final=True)
    if isinstance(root, ssl.SSLError):
        return TransferError(place, f"TLS failed{via}: {root.reason or root}", kind="tls")
    if isinstance(root, socket.gaierror):
        return TransferError(place, f"the host name is not known{via}: {root.strerror or root}", kind="dns")
    if isinstance(root, OSError) and root.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return TransferError(
            place, f"there is no way to the host{via}: {root.strerror}", kind="unreachable", final=True
        )
    if isinstance(root, (TimeoutError, urllib3.exceptions.ConnectTimeoutError)):
        return TransferError(place, f"no connection in time{via}", kind="timeout")
    if isinstance(root, http.client.IncompleteRead):
        return TransferError(place, "the connection was cut in mid-body", kind="cut")
    if isinstance(root, http.client.RemoteDisconnected):
        return TransferError(place, f"the connection was closed without an answer{via}", kind="cut")
    if isinstance(root, http.client.HTTPException):
        return TransferError(place, f"not an answer of HTTP: {type(root).__name__} {root}".rstrip(), kind="protocol")
    if isinstance(root, OSError) and root.errno in (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED):
        return TransferError(place, f"the connection was reset{via}", kind="cut")
    if isinstance(root, OSError):
        return TransferError(place, f"no connection{via}: {root.strerror or root}", kind="connect")
    return TransferError(place, f"{type(root).__name__}: {root}", kind="error")


def blame_file(exc: Exception, place: str) -> TransferError:
    """Name what went wrong with one file; what is wrong for all of them is raised on.

    Parameters
    ----------
    exc : Exception
        What was raised while the file was brought.
    place : str
        Its source as it may be shown.

    Returns
    -------
    TransferError
        For this file alone, so that the others come.

    Raises
    ------
    DataferryError, OSError
        `exc` itself, if it is of the disk or of the settings.
    """
    network = isinstance(exc, TransferError | ConnectionError | TimeoutError | ssl.SSLError | socket.gaierror)
    if not network and (isinstance(exc, DataferryError) or getattr(exc, "errno", None) is not None):
        raise exc
    return blame(exc, place)


def _root(exc: BaseException) -> BaseException:
    seen: set[int] = set()
    while id(exc) not in seen:
        seen.add(id(exc))
        if isinstance(exc, (OSError, http.client.HTTPException)) and not isinstance(exc, urllib3.exceptions.HTTPError):
            return exc
        inner = exc.__cause__ or getattr(exc, "original_error", None) or exc.__context__
        inner = inner or next((arg for arg in exc.args if isinstance(arg, BaseException)), None)
        if inner is None:
            return exc
        exc = inner
    return exc


def disk_error(exc: OSError, place: object) -> CacheError:
    """Name what went wrong on disk, and what would help.

    Parameters
    ----------
    exc : OSError
        The error.
    place : object
        The file or directory.

    Returns
    -------
    CacheError
        To be raised.
    """
    remedies = {
        errno.ENOSPC: "free some space there, or let ASTROPY_CACHE_DIR name a place with more",
        errno.EDQUOT: "the quota there is used up; let ASTROPY_CACHE_DIR name another place",
        errno.EROFS: "the file system is read-only; let ASTROPY_CACHE_DIR name a place that can be written",
        errno.EACCES: "it cannot be written by this user; let ASTROPY_CACHE_DIR name a place that can",
        errno.EPERM: "it cannot be written by this user; let ASTROPY_CACHE_DIR name a place that can",
    }
    remedy = remedies.get(exc.errno or 0, "let ASTROPY_CACHE_DIR name another place")
    error = CacheError(f"{place}: {exc.strerror or exc}; {remedy}; what has arrived so far is kept where it can be")
    error.errno = exc.errno
    return error
