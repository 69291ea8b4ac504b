"""Certificates for TLS servers in tests, made on the spot."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MissingExtra

if TYPE_CHECKING:
    import ssl

__all__ = ["CertificateAuthority"]


class CertificateAuthority:
    """An authority of one's own, for servers and clients on loopback.

    Raises
    ------
    MissingExtra
        If trustme is not installed.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise MissingExtra("test", "trustme") from None
        self._ca = trustme.CA()
        self._folder = tempfile.mkdtemp(prefix="dataferry-ca-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._made = 0
        self.pem = self._write("ca.pem", self._ca.cert_pem.bytes())

    def server_context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """What a TLS server in this process needs.

        Parameters
        ----------
        *names : str
            Host names and addresses that the certificate is for.
        expired : bool
            A certificate that ended yesterday.

        Returns
        -------
        ssl.SSLContext
            For the server's side.
        """
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate(*names, expired=expired))
        return context

    def client_context(self) -> ssl.SSLContext:
        """What a client needs that trusts this authority and no other.

        Returns
        -------
        ssl.SSLContext
            For the client's side.
        """
        import ssl

        return ssl.create_default_context(cafile=str(self.pem))

    def certificate(self, *names: str, expired: bool = False) -> tuple[Path, Path]:
        """A certificate as files, for a server or a client program.

        Parameters
        ----------
        *names : str
            Host names and addresses, or a client's name.
        expired : bool
            A certificate that ended yesterday.

        Returns
        -------
        (Path, Path)
            The certificate with its chain, and the private key; gone when this object is.
        """
        now = datetime.now(UTC)
        begin, end = (now - timedelta(2), now - timedelta(1)) if expired else (now - timedelta(1), now + timedelta(30))
        leaf = self._ca.issue_cert(*names, not_before=begin, not_after=end)
        self._made += 1
        chain = b"".join(part.bytes() for part in leaf.cert_chain_pems)
        key = leaf.private_key_pem.bytes()
        return self._write(f"{self._made}.pem", chain), self._write(f"{self._made}.key", key)

    def _write(self, name: str, data: bytes) -> Path:
        path = Path(self._folder, name)
        path.write_bytes(data)
        return path
