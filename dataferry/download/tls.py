"""TLS contexts that trust what the machine and the user trust: system, certifi, variables, a host's own CA."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from functools import lru_cache

from ..errors import SettingsError

__all__ = ["tls_context"]

# OpenSSL itself reads the first two; they are listed so that a change of theirs makes a new context.
_READ_BY_OPENSSL = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_READ_HERE = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def tls_context(ca_bundle: str | None = None, client_cert: str | Sequence[str] | None = None) -> ssl.SSLContext:
    """The context for a connection: the roots of the system and of certifi, and what variables and settings add.

    Parameters
    ----------
    ca_bundle : str, optional
        A file or directory of further roots, for this host.
    client_cert : str or sequence of str, optional
        A file with certificate and key, or certificate file and key file.

    Returns
    -------
    ssl.SSLContext
        Verifying, with host name checks.

    Raises
    ------
    SettingsError
        If a bundle or a certificate cannot be read; the message names the variable or the setting.
    """
    extra = [(name, os.environ[name]) for name in _READ_HERE if os.environ.get(name)]
    if ca_bundle:
        extra.append(("ca_bundle", os.path.expanduser(ca_bundle)))
    cert = (client_cert,) if isinstance(client_cert, str) else tuple(client_cert or ())
    known = tuple(os.environ.get(name, "") for name in _READ_BY_OPENSSL)
    return _context(tuple(extra), tuple(os.path.expanduser(part) for part in cert), known)


@lru_cache(maxsize=16)
def _context(extra: tuple[tuple[str, str], ...], cert: tuple[str, ...], known: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        import certifi

        context.load_verify_locations(cafile=certifi.where())
    except ImportError:
        pass
    for name, place in extra:
        try:
            if os.path.isdir(place):
                context.load_verify_locations(capath=place)
            else:
                context.load_verify_locations(cafile=place)
        except OSError as exc:
            raise SettingsError(f"{name} names {place!r}, which holds no certificates that can be read: {exc}") from exc
    if cert:
        try:
            context.load_cert_chain(*cert[:2])
        except OSError as exc:
            raise SettingsError(f"client_cert names {cert[0]!r}, which cannot be used: {exc}") from exc
    return context
