"""Proxies as fixtures: with a login, and a link with a long round trip."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .running import Running, Starter

Serve = Callable[..., Running]
Login = tuple[str, str] | None


@pytest.fixture(scope="module")
def tinyproxy(need: Any, running: Starter) -> Serve:
    """Start tinyproxy."""
    program = need("tinyproxy")

    def serve(login: Login = None) -> Running:
        def command(port: int, home: Path) -> list[str]:
            auth = f"BasicAuth {login[0]} {login[1]}\n" if login else ""
            (home / "tinyproxy.conf").write_text(
                f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nAllow 127.0.0.1\n"
                f'LogFile "{home}/access.log"\nLogLevel Connect\n{auth}'
            )
            return [program, "-d", "-c", str(home / "tinyproxy.conf")]

        return running("tinyproxy", command)

    return serve


@pytest.fixture(scope="module")
def squid(need: Any, running: Starter) -> Serve:
    """Start squid; it caches nothing."""
    program = need("squid")
    helper = Path("/usr/lib/squid/basic_ncsa_auth")
    need.that("squid", helper.exists(), f"{helper} is missing")

    def serve(login: Login = None) -> Running:
        def command(port: int, home: Path) -> list[str]:
            rules = "http_access allow all"
            if login:
                (home / "users").write_text(f"{login[0]}:{hashlib.md5(login[1].encode()).hexdigest()}\n")
                rules = (
                    f"auth_param basic program {helper} {home}/users\nauth_param basic children 1 startup=1\n"
                    "auth_param basic realm data\nacl known proxy_auth REQUIRED\nhttp_access allow known\n"
                    "http_access deny all"
                )
            (home / "squid.conf").write_text(
                f"http_port 127.0.0.1:{port}\n{rules}\npid_filename none\nvisible_hostname localhost\n"
                f"access_log stdio:{home}/access.log\ncache_log stdio:/dev/stderr\ncache deny all\ncache_mem 8 MB\n"
                f"coredump_dir {home}\nshutdown_lifetime 0 seconds\nnetdb_filename none\nmax_filedescriptors 1024\n"
            )
            return [program, "-N", "-d", "1", "-f", str(home / "squid.conf")]

        return running("squid", command, as_nobody=True)

    return serve


@pytest.fixture(scope="module")
def delay_proxy(running: Starter) -> Serve:
    """Put a link with a long round trip before a server."""

    def serve(url: str, delay: float = 0.04) -> Running:
        target = urlsplit(url)
        script = Path(__file__).with_name("delay_link.py")

        def command(port: int, home: Path) -> list[str]:
            return [sys.executable, str(script), str(port), str(target.hostname), str(target.port), str(delay)]

        return running("delay", command, scheme=target.scheme)

    return serve
