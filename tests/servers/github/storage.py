"""Where assets lie: signed addresses."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

from .asked import Base
from .state import signature


class Storage(Base):
    """Signed addresses with ranges; a token that came along is refused, as storage does."""

    def do_GET(self) -> None:  # noqa: N802
        github = self.server.stand_in
        parts = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        number = int(parts.path.strip("/") or 0)
        with github.lock:
            github.log.append(f"STORAGE {self.path} {self.headers.get('Range', '')}".strip())
            assets = [
                a for repo in github.repositories.values() for r in repo.releases.values() for a in r.assets.values()
            ]
        asset = next((a for a in assets if a.id == number), None)
        until = float(query.get("se", 0))
        if "Authorization" in self.headers:
            return self.text(400, "InvalidAuthenticationInfo")
        if asset is None or query.get("sig") != signature(number, until) or time.time() > until:
            return self.text(403, "AuthenticationFailed")
        return self.serve(asset.data, f'"{asset.id}"')

    def text(self, status: int, said: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def serve(self, data: bytes, etag: str) -> None:
        start, stop, status = 0, len(data), 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", etag) == etag:
            start = int(asked[1])
            stop = min(len(data), int(asked[2]) + 1 if asked[2] else len(data))
            status = 206 if start < len(data) else 416
        if status == 416:
            start = stop = 0
        self.send_response(status)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", etag)
        if status != 200:
            told = f"{start}-{stop - 1}" if status == 206 else "*"
            self.send_header("Content-Range", f"bytes {told}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:stop])
