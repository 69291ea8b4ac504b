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
    """An authority of one's own, for servers and clients on loopback; needs trustme.

    Its certificate is in the file ``pem``. All its files are gone when this object is.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise MissingExtra("test", "trustme") from None
        self._ca = trustme.CA()
        self._folder = Path(tempfile.mkdtemp(prefix="dataferry-ca-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._made = 0
        self.pem = self._folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.pem)

    def server_context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """What a TLS server in this process needs: see `certificate`."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate(*names, expired=expired))
        return context

    def client_context(self) -> ssl.SSLContext:
        """What a client needs that trusts this authority and no other."""
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
            The certificate with its chain, and the private key.
        """
        now, day = datetime.now(UTC), timedelta(1)
        leaf = self._ca.issue_cert(*names, not_before=now - 2 * day, not_after=now - day if expired else now + 30 * day)
        self._made += 1
        chain, key = self._folder / f"{self._made}.pem", self._folder / f"{self._made}.key"
        chain.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        return chain, key
