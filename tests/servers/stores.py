"""Stores that are not web servers: sshd for SFTP, Azurite for Azure's blobs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .running import Running, Starter

#: Azurite's own account, in its documentation: a constant of the program.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass
class Sshd:
    """A server for SFTP; ``declared(folder)`` is its URL. ``trust(home)`` gives a home key and known host."""

    daemon: Running
    keys: Path

    def declared(self, folder: Path) -> str:
        return f"sftp://127.0.0.1:{self.daemon.port}{folder}/"

    def trust(self, home: Path, *, key: bool = True, host: bool = True) -> None:
        ssh = home / ".ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        if key:
            (ssh / "id_ed25519").write_bytes((self.keys / "user").read_bytes())
            (ssh / "id_ed25519").chmod(0o600)
        if host:
            kind, blob, *_ = (self.keys / "host.pub").read_text().split()
            (ssh / "known_hosts").write_text(f"[127.0.0.1]:{self.daemon.port} {kind} {blob}\n")


@pytest.fixture(scope="module")
def sshd(need: Any, running: Starter, tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    """Start sshd for this user alone."""
    program, keygen = need("sshd"), need("ssh-keygen")
    keys = tmp_path_factory.mktemp("ssh-keys")
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates privileges as root

    def command(port: int, home: Path) -> list[str]:
        config = f"""
            Port {port}
            ListenAddress 127.0.0.1
            HostKey {keys}/host
            PidFile none
            AuthorizedKeysFile {keys}/user.pub
            StrictModes no
            UsePAM no
            PermitRootLogin yes
            PasswordAuthentication no
            Subsystem sftp internal-sftp
            MaxStartups 100
        """
        (home / "sshd_config").write_text(config)
        return [program, "-D", "-e", "-f", str(home / "sshd_config")]

    return Sshd(running("sshd", command), keys)


@dataclass
class Azurite:
    """A store of blobs; ``container(name, public)`` makes a container in it."""

    daemon: Running

    @property
    def url(self) -> str:
        return f"{self.daemon.url}{AZURITE_ACCOUNT}/"

    @property
    def connection(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};"
            f"BlobEndpoint={self.url.rstrip('/')};"
        )

    def container(self, name: str, *, public: bool = True) -> None:
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(self.connection) as client:
            client.create_container(name, public_access="container" if public else None)


@pytest.fixture(scope="module")
def azurite(need: Any, running: Starter) -> Azurite:
    """Start Azurite with an empty memory."""
    program = need("azurite-blob", "npm install --global azurite brings it")
    need.module("adlfs")

    def command(port: int, home: Path) -> list[str]:
        place = ["--location", str(home), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        return [program, *place, "--skipApiVersionCheck", "--silent", "--disableTelemetry"]

    return Azurite(running("azurite", command))
