"""Ceph's S3 gateway with everything it needs, in memory and on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .running import free_port, listens

PROGRAMS = "ceph-mon", "ceph-osd", "radosgw", "ceph", "ceph-authtool", "monmaptool", "radosgw-admin"
_CONF = """
[global]
fsid = {fsid}
mon initial members = a
mon host = [v2:127.0.0.1:{mon}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
osd memory target = 939524096
memstore device bytes = {memory}
mon allow pool size one = true
mon data = {home}/mon
paxos propose interval = 0.05
paxos min wait = 0.01
mon data avail warn = 2
mon data avail crit = 1
osd data = {home}/osd
rgw data = {home}/rgw
rgw dns name = localhost
rgw frontends = beast endpoint=127.0.0.1:{port} {tls}
keyring = {home}/keyring
log file = {home}/$name.log
admin socket = {home}/$name.$pid.asok
run dir = {home}
"""
_CAPS = {
    "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    "client.rgw": ("mon", "allow rwx", "osd", "allow rwx", "mgr", "allow rw"),
}


@dataclass(frozen=True)
class User:
    """Somebody with an access key at the gateway."""

    name: str
    key: str
    secret: str

    @property
    def environ(self) -> dict[str, str]:
        """The variables that hold the key."""
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}


@dataclass(eq=False)
class Radosgw:
    """A gateway that answers at ``url`` and, if it has a certificate, at ``tls_url``."""

    home: Path
    port: int
    tls_port: int = 0
    bundle: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"
        self.tls_url = f"https://127.0.0.1:{self.tls_port}"
        self.owner = User("owner", "OWNERKEY", "ownersecret")
        self._clients: dict[User, Any] = {}

    def admin(self, *words: str) -> Any:
        """``radosgw-admin``; gives its JSON."""
        command = ["radosgw-admin", "-c", f"{self.home}/ceph.conf", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip().startswith(("{", "[")) else None

    @cache  # noqa: B019 - the gateway lives as long as the run
    def user(self, name: str, *options: str) -> User:
        """A user, made at the first call."""
        user = User(name, f"{name.upper()}KEY", f"{name}secret")
        who = [f"--uid={name}", f"--display-name={name}", f"--access-key={user.key}", f"--secret-key={user.secret}"]
        self.admin("user", "create", *who, *options)
        return user

    def client(self, user: User | None = None) -> Any:
        """The client of boto3 for a user, by default the owner of the buckets."""
        import boto3
        from botocore.config import Config

        user = user or self.owner
        if user not in self._clients:
            plain = Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"})
            keys = {"aws_access_key_id": user.key, "aws_secret_access_key": user.secret}
            session = boto3.Session(**keys, region_name="us-east-1")
            self._clients[user] = session.client("s3", endpoint_url=self.url, config=plain)
        return self._clients[user]

    def bucket(
        self, *, public: bool = True, versioned: bool = False, writers: Mapping[User, tuple[str, ...]] | None = None
    ) -> str:
        """Make a bucket of the owner; ``writers`` may do what is listed, ``s3:PutObject`` for one."""
        name, client = f"data-{uuid.uuid4().hex[:10]}", self.client()
        client.create_bucket(Bucket=name)
        every = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
        rules = [("*", ["s3:GetObject", "s3:GetObjectVersion"])] if public else []
        who = [({"AWS": [f"arn:aws:iam:::user/{user.name}"]}, list(may)) for user, may in (writers or {}).items()]
        statements = [
            {"Effect": "Allow", "Principal": principal, "Action": may, "Resource": every}
            for principal, may in [*rules, *who]
        ]
        if statements:
            policy = {"Version": "2012-10-17", "Statement": statements}
            client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def full_bucket(self, writer: User, rights: tuple[str, ...], room: int) -> str:
        """Make a public bucket that has room for so many bytes."""
        name = self.bucket(writers={writer: rights})
        self.admin("quota", "set", "--quota-scope=bucket", f"--bucket={name}", f"--max-size={room}")
        self.admin("quota", "enable", "--quota-scope=bucket", f"--bucket={name}")
        return name

    def let_list(self, bucket: str) -> None:
        """Let strangers have the list of a bucket."""
        client = self.client()
        policy = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])
        resource = [f"arn:aws:s3:::{bucket}"]
        policy["Statement"].append(
            {"Effect": "Allow", "Principal": "*", "Action": ["s3:ListBucket"], "Resource": resource}
        )
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def spec(self, bucket: str, prefix: str = "", *, endpoint: str = "", **words: str) -> str:
        """The line of ``dataferry.toml`` for a bucket."""
        further = "".join(f"&{word}={value}" for word, value in words.items())
        return f"s3://{bucket}/{prefix}?endpoint={endpoint or self.url}{further}"

    def run(self, *words: str) -> None:
        """Start a daemon that ends with this process at the latest."""
        with open(self.home / "output.log", "ab") as output:
            leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
            process = subprocess.Popen(
                [*leash, *words, "-f", "-c", f"{self.home}/ceph.conf", "--setuser", "root", "--setgroup", "root"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)

    def stop(self) -> None:
        """End all daemons; what they hold is in memory and need not be saved."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)


def start_radosgw(home: Path, *, memory: int = 2 << 30, certificate: tuple[str, str] | None = None) -> Radosgw:
    """Start a gateway; takes about ten seconds.

    ``memory`` bytes hold the objects; ``certificate`` are the files of chain and key.
    """
    home.mkdir(parents=True, exist_ok=True)
    gateway = Radosgw(home, free_port(), free_port() if certificate else 0)
    tls = ""
    if certificate:
        pem = home / "both.pem"
        pem.write_text("".join(Path(part).read_text() for part in certificate))
        tls = f"ssl_endpoint=127.0.0.1:{gateway.tls_port} ssl_certificate={pem}"
    mon, fsid = free_port(), str(uuid.uuid4())
    conf, keyring = home / "ceph.conf", home / "keyring"
    conf.write_text(_CONF.format(home=home, mon=mon, port=gateway.port, tls=tls, memory=memory, fsid=fsid))
    for folder in ("mon", "osd", "rgw"):
        (home / folder).mkdir()
    user = ["--setuser", "root", "--setgroup", "root"]

    def do(*words: str, told: str | None = None) -> str:
        done = subprocess.run(words, input=told, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
        return done.stdout.strip()

    try:
        do("ceph-authtool", "--create-keyring", str(keyring), "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name, caps in _CAPS.items():
            pairs = [word for kind, may in zip(caps[::2], caps[1::2], strict=True) for word in ("--cap", kind, may)]
            do("ceph-authtool", str(keyring), "--gen-key", "-n", name, *pairs)
        address = f"[v2:127.0.0.1:{mon}]"
        do("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, f"{home}/monmap")
        made = ["--mkfs", "-i", "a", "--monmap", f"{home}/monmap", "--keyring", str(keyring)]
        do("ceph-mon", "-c", str(conf), *made, *user)
        gateway.run("ceph-mon", "-i", "a")
        osd, secret = str(uuid.uuid4()), do("ceph-authtool", "--gen-print-key")
        told = json.dumps({"cephx_secret": secret})
        do("ceph", "-c", str(conf), "osd", "new", osd, "-i", "-", told=told)
        may = ["--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"]
        do("ceph-authtool", str(keyring), "-n", "osd.0", "--add-key", secret, *may)
        do("ceph-osd", "-c", str(conf), "-i", "0", "--mkfs", "--osd-uuid", osd, *user)
        gateway.run("ceph-osd", "-i", "0")
        gateway.run("radosgw", "-n", "client.rgw")
        _wait_for(gateway)
        owner = gateway.owner
        who = [f"--uid={owner.name}", f"--display-name={owner.name}"]
        gateway.admin("user", "create", *who, f"--access-key={owner.key}", f"--secret-key={owner.secret}")
    except BaseException:
        gateway.stop()
        raise
    return gateway


def _wait_for(gateway: Radosgw) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(gateway.url, timeout=2).close()
            if any(listens(process.pid, gateway.port) for process in gateway.processes):
                return
        if any(process.poll() is not None for process in gateway.processes):
            break
        time.sleep(0.05)
    raise AssertionError("radosgw did not start\n" + (gateway.home / "output.log").read_text(errors="replace")[-4000:])


@pytest.fixture(scope="session")
def radosgw(need: Any, tls_ca: Any) -> Iterator[Radosgw]:
    """One gateway for the whole run."""
    for program in PROGRAMS:
        need(program)
    need.that("radosgw", os.geteuid() == 0, "its daemons are started as root here")
    need.module("boto3")
    # not in pytest's folder: the path of a socket has 107 bytes at most
    home = Path(tempfile.mkdtemp(prefix="ceph-"))
    gateway = start_radosgw(home, certificate=tls_ca.certificate("127.0.0.1", "localhost"))
    yield gateway
    gateway.stop()
