"""Web servers as fixtures."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataferry.testing import CertificateAuthority

from .running import Running, Starter

Serve = Callable[..., Running]


@pytest.fixture(scope="session")
def tls_ca(need: Any) -> CertificateAuthority:
    """An authority of our own, made by trustme."""
    need.module("trustme")
    return CertificateAuthority()


@pytest.fixture(scope="module")
def nginx(need: Any, running: Starter, request: pytest.FixtureRequest) -> Serve:
    """Start nginx on a folder."""
    program = need("nginx")

    def serve(
        folder: Path,
        *,
        limit_rate: str = "",
        autoindex: str = "",
        basic: tuple[str, str] | None = None,
        tls: bool = False,
        http2: bool = False,
        extra: str = "",
    ) -> Running:
        """``limit_rate="20m"`` a connection; ``autoindex="html"`` or ``"json"``; ``extra`` goes into ``server {}``."""
        lines = [extra]
        if limit_rate:
            lines.append(f"limit_rate {limit_rate};")
        if autoindex:
            lines.append(f"autoindex on; autoindex_format {autoindex};")
        if tls:
            chain, key = request.getfixturevalue("tls_ca").certificate("127.0.0.1", "localhost")
            lines.append(f"ssl_certificate {chain}; ssl_certificate_key {key};")

        def command(port: int, home: Path) -> list[str]:
            if basic:
                secret = base64.b64encode(hashlib.sha1(basic[1].encode()).digest()).decode()
                (home / "users").write_text(f"{basic[0]}:{{SHA}}{secret}\n")
                lines.append(f'auth_basic "data"; auth_basic_user_file {home}/users;')
            listen = f"127.0.0.1:{port} backlog=1024{' ssl' if tls else ''}{' http2' if http2 else ''}"
            temporary = " ".join(
                f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            (home / "nginx.conf").write_text(f"""
                {"user root;" if os.geteuid() == 0 else ""}
                worker_processes 1; pid {home}/pid; daemon off; error_log stderr warn;
                events {{ worker_connections 4096; }}
                http {{
                    log_format short '$request_method $request_uri $status $body_bytes_sent $connection "$http_range"';
                    access_log {home}/access.log short; {temporary}
                    sendfile on; keepalive_requests 100000; default_type application/octet-stream;
                    server {{ listen {listen}; root "{folder}"; {" ".join(lines)} }}
                }}""")
            return [program, "-p", str(home), "-e", "stderr", "-c", str(home / "nginx.conf")]

        return running("nginx", command, scheme="https" if tls else "http")

    return serve


@pytest.fixture(scope="module")
def apache(need: Any, running: Starter) -> Serve:
    """Start Apache on a folder."""
    program = need("apache2")
    modules = Path("/usr/lib/apache2/modules")
    need.that("apache2", modules.is_dir(), f"no modules in {modules}")

    def serve(folder: Path) -> Running:
        def command(port: int, home: Path) -> list[str]:
            load = "\n".join(
                f"LoadModule {name}_module {modules}/mod_{name}.so" for name in ("mpm_event", "authz_core", "dir")
            )
            (home / "apache.conf").write_text(f"""
                {load}
                ServerRoot {home}
                ServerName localhost
                Listen 127.0.0.1:{port}
                PidFile {home}/pid
                DefaultRuntimeDir {home}
                ErrorLog /dev/stderr
                TransferLog {home}/access.log
                DocumentRoot "{folder}"
                <Directory "{folder}">
                    Require all granted
                </Directory>
                """)
            (home / "access.log").touch()
            return [program, "-D", "FOREGROUND", "-f", str(home / "apache.conf")]

        return running("apache", command, as_nobody=True)

    return serve


@pytest.fixture(scope="module")
def caddy(need: Any, running: Starter) -> Serve:
    """Start Caddy on a folder."""
    program = need("caddy")

    def serve(folder: Path) -> Running:
        def command(port: int, home: Path) -> list[str]:
            (home / "Caddyfile").write_text(
                "{\n\tadmin off\n\tauto_https off\n}\n"
                f"http://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n"
                f'\troot * "{folder}"\n\tfile_server\n\tlog {{\n\t\toutput file {home}/access.log\n\t}}\n}}\n'
            )
            return [program, "run", "--config", str(home / "Caddyfile"), "--adapter", "caddyfile"]

        return running("caddy", command)

    return serve


@pytest.fixture(scope="module")
def lighttpd(need: Any, running: Starter) -> Serve:
    """Start lighttpd on a folder."""
    program = need("lighttpd")

    def serve(folder: Path) -> Running:
        def command(port: int, home: Path) -> list[str]:
            # without a type for every file it sends no ETag
            (home / "lighttpd.conf").write_text(
                f'server.bind = "127.0.0.1"\nserver.port = {port}\nserver.document-root = "{folder}"\n'
                'server.modules = ("mod_accesslog")\n'
                f'accesslog.filename = "{home}/access.log"\nserver.upload-dirs = ("{home}")\n'
                'mimetype.assign = ("" => "application/octet-stream")\n'
            )
            return [program, "-D", "-f", str(home / "lighttpd.conf")]

        return running("lighttpd", command)

    return serve


@pytest.fixture(scope="module")
def python_http(running: Starter) -> Serve:
    """Start ``python -m http.server`` on a folder."""

    def serve(folder: Path) -> Running:
        def command(port: int, home: Path) -> list[str]:
            place = ["--bind", "127.0.0.1", "--directory", str(folder), str(port)]
            return [sys.executable, "-m", "http.server", *place]

        return running("python-http", command)

    return serve
