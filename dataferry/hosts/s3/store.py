"""A bucket through boto3: who asks, over which connections, and what the store's errors mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...download.access import host_option
from ...errors import DataferryError, MissingExtra
from .refusals import BotoCoreError, ClientError, error_of

try:
    import boto3
    import botocore.loaders
    import botocore.session
    from botocore.config import Config
    from botocore.configprovider import ConfiguredEndpointProvider
except ImportError as error:
    raise MissingExtra("s3", "boto3") from error

if TYPE_CHECKING:
    from ...config.settings import Settings
    from .place import Place

__all__ = ["Store"]


class Store:
    """A bucket and whoever asks it.

    Parameters
    ----------
    place : Place
        The bucket.
    shown : str
        The bucket as it may be printed.
    settings : Settings
        The user's settings; ``user`` and ``password`` in ``[hosts."s3://<host of the store>"]`` are access key and
        secret key.
    connections : int
        Connections that are kept.
    stranger : bool
        Whether to ask without a signature.
    reading : bool
        Whether a package named the store. One that is not AWS then gets only what the user means for it: the key under
        its name in the settings, or any where ``AWS_ENDPOINT_URL_S3`` or the user's profile names it too.

    Attributes
    ----------
    client : object
        The client of boto3, which threads may share.
    who : str
        Which access key is used and where it was found; empty where there is none.

    Raises
    ------
    AccessDenied
        If ``AWS_PROFILE`` names a profile that is not there, or half a key is given.
    """

    def __init__(
        self,
        place: Place,
        redacted: str,
        settings: Settings,
        *,
        connections: int = 8,
        stranger: bool = False,
        reading: bool = False,
    ) -> None:
        self.place = place
        self.redacted = redacted
        server = urlsplit(place.server)
        bundle, cert = (host_option(settings, server, word) for word in ("ca_bundle", "client_cert"))
        # not under the bare name of the store: user and password would go there with every plain request
        label = f"s3://{server.netloc}"
        key, secret = (settings.hosts.get(label, {}).get(word) for word in ("user", "password"))
        options: dict[str, Any] = {
            "signature_version": "s3v4",
            "s3": {"addressing_style": "path" if place.path_style else "virtual"},
            "max_pool_connections": connections,
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": {"mode": "standard", "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS") or 5)},
            "user_agent_extra": settings.user_agent.split(" ")[0],
            "tcp_keepalive": True,
            "ignore_configured_endpoint_urls": True,  # readers go where the declaration says
        }
        if cert:
            options["client_cert"] = cert if isinstance(cert, str) else tuple(cert)
        if place.endpoint:
            # many stores do not know the checksums that newer versions of boto3 send by default
            options |= {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        with self.asking("credentials"):
            session = boto3.Session(
                botocore_session=_new_session(),
                aws_access_key_id=key or None,
                aws_secret_access_key=(secret or None) if key else None,
                region_name=place.region or None,
            )
            told = bool(key) or not (reading and place.endpoint) or place.endpoint == _endpoint_of(session)
            if stranger or not told:
                options["signature_version"] = botocore.UNSIGNED
            found = session.get_credentials() if told and not stranger else None
            self.credentials: Any = found
            self.client: Any = session.client(
                "s3",
                endpoint_url=place.endpoint or None,
                region_name=place.region or session.region_name or "us-east-1",
                verify=bundle or _bundle(),
                config=Config(**options),
            )
        self.session = session
        origin = f'[hosts."{label}"] of config.toml' if key else getattr(found, "method", "")
        self.who = f"access key {_shortened(str(found.access_key))} from {origin}" if found else ""

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn errors of boto3 into those of dataferry.

        Parameters
        ----------
        what : str
            What is asked for, as it may be shown.
        """
        try:
            yield
        except DataferryError:
            raise
        except (ClientError, BotoCoreError) as exc:
            raise error_of(exc, self.redacted, what) from exc

    def region(self) -> str:
        """Where the bucket is, as the store says; empty where it says nothing.

        Returns
        -------
        str
            AWS tells it to strangers too.
        """
        try:
            answer = self.client.head_bucket(Bucket=self.place.bucket)
        except ClientError as exc:
            answer = exc.response
        except BotoCoreError:
            return ""
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return str(headers.get("x-amz-bucket-region", ""))

    def close(self) -> None:
        """Close the kept connections."""
        self.client.close()


@lru_cache(maxsize=1)
def _loader() -> Any:
    return botocore.loaders.create_loader()


def _new_session() -> Any:
    """A session that does not read the description of S3 again, which takes longer than all the rest."""
    session = botocore.session.Session()
    session.register_component("data_loader", _loader())
    return session


def _endpoint_of(session: Any) -> str:
    """The store that the user means by the keys of the environment and of the profile; empty for AWS."""
    core = session._session
    provider = ConfiguredEndpointProvider(core.full_config, core.get_scoped_config(), "s3")
    return str(provider.provide() or "").rstrip("/")


def _bundle() -> str | None:
    """The roots that the other transfers trust as well; boto3 knows only its own variables."""
    if os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE"):
        return None
    return os.environ.get("SSL_CERT_FILE") or os.environ.get("CURL_CA_BUNDLE")


def _shortened(key: str) -> str:
    return key if len(key) <= 8 else f"{key[:4]}...{key[-4:]}"
