"""Git over HTTP with logins: ``git_http.py PORT FOLDER RULES``. Requests go to git's own ``git http-backend``.

``RULES`` is a JSON file that is read at each request: ``tokens`` (token -> ``"read"`` or ``"write"``), ``private``,
``busy`` (so many requests get 429), ``cut`` (so many pushes are cut within their body). As GitHub does, a stranger who
wants to write gets 401, and a token that may only read gets 403. Sizes of a tree are told as GitHub's API tells them.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from urllib.parse import urlsplit

FOLDER, RULES = sys.argv[2], sys.argv[3]
LOCK = threading.Lock()


def used(key: str) -> bool:
    """Whether a fault is due; it is then used up."""
    with LOCK:
        with open(RULES) as file:
            rules = json.load(file)
        left = rules.get(key, 0)
        if left:
            with open(f"{RULES}.new", "w") as file:
                json.dump({**rules, key: left - 1}, file)
            os.replace(f"{RULES}.new", RULES)
        return bool(left)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.serve(b"")

    def do_POST(self) -> None:
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        pushes = self.path.endswith("/git-receive-pack")
        body = b"".join(self.chunks()) if chunked else self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if pushes and len(body) > 1000 and used("cut"):
            self.close_connection = True
            self.connection.close()
            return
        self.serve(body)

    def chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def serve(self, body: bytes) -> None:
        with open(RULES) as file:
            rules = json.load(file)
        parts = urlsplit(self.path)
        token = self.token()
        right = rules["tokens"].get(token, "") if token else ""
        writes = "git-receive-pack" in self.path
        if used("busy"):
            return self.answer(429, b"slow down", {"Retry-After": "1"})
        if (token and not right) or (not right and (writes or rules.get("private"))):
            return self.answer(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="git"'})
        if writes and right != "write":
            return self.answer(403, b"Write access to repository not granted.")
        if parts.path.startswith("/api/v3/"):
            return self.tree(parts.path)
        return self.backend(parts.path, parts.query, body, bool(right))

    def token(self) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            return base64.b64decode(value).decode().partition(":")[2]
        return value

    def tree(self, path: str) -> None:
        *_, owner, repo, _, _, commit = path.split("/")
        place = f"{FOLDER}/{owner}/{repo}.git"
        listed = subprocess.run(["git", "-C", place, "ls-tree", "-r", "-l", "-z", commit], capture_output=True).stdout
        tree = []
        for line in filter(None, listed.decode().split("\0")):
            head, _, name = line.partition("\t")
            mode, kind, sha, size = head.split()
            tree.append({"path": name, "mode": mode, "type": kind, "sha": sha, "size": int(size)})
        told = {"sha": commit, "url": f"http://{self.headers['Host']}{path}", "tree": tree, "truncated": False}
        self.answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def backend(self, path: str, query: str, body: bytes, known: bool) -> None:
        env = {
            **os.environ,
            "GIT_PROJECT_ROOT": FOLDER,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        if known:
            env["REMOTE_USER"] = "author"
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        self.answer(status, rest, headers)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *args: object) -> None:
        with LOCK, open("access.log", "a") as file:
            file.write(form % args + "\n")


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
