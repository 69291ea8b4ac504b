"""The little of a search engine that InvenioRDM needs: keeps documents, and finds them by exact terms.

``python search.py PORT FILE`` begins with what the file holds; ``POST /_save`` writes it. No analysis, no scores, no
aggregations: a query of a kind that it does not know finds all.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SHARDS = {"total": 1, "successful": 1, "failed": 0, "skipped": 0}
indices: dict[str, dict[str, Any]] = defaultdict(dict)


def values(document: Any, path: str) -> Iterator[Any]:
    """All values below a dotted path; lists are entered."""
    if isinstance(document, list):
        for item in document:
            yield from values(item, path)
    elif not path:
        yield document
    elif isinstance(document, dict):
        for key, item in document.items():
            if path == key or path.startswith(f"{key}."):
                yield from values(item, path[len(key) + 1 :])


def several(said: Any) -> list[Any]:
    return said if isinstance(said, list) else [said]


def matches(document: Any, query: dict[str, Any]) -> bool:
    for kind, said in query.items():
        if kind == "bool":
            should = several(said.get("should", []))
            least = said.get("minimum_should_match", 0 if said.get("must") or said.get("filter") else 1)
            if not (
                all(matches(document, part) for key in ("must", "filter") for part in several(said.get(key, [])))
                and not any(matches(document, part) for part in several(said.get("must_not", [])))
                and (not should or sum(matches(document, part) for part in should) >= int(least))
            ):
                return False
        elif kind == "match_none":
            return False
        elif kind in {"term", "terms"}:
            for path, wanted in said.items():
                if path == "boost":
                    continue
                terms = several(wanted["value"] if isinstance(wanted, dict) else wanted)
                if not {str(value).lower() for value in values(document, path)} & {str(term).lower() for term in terms}:
                    return False
        elif kind == "exists" and not any(True for _ in values(document, said["field"])):
            return False
    return True


def found(names: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """Hits in the indices that a name or its alias stands for: an alias is the start of its indices' names."""
    return [
        {"_index": index, "_id": key, "_score": 1.0, "_source": document, "_version": 1}
        for index, documents in list(indices.items())
        if any(fnmatchcase(index, f"{name}*") for name in names.split(","))
        for key, document in list(documents.items())
        if matches(document, query or {})
    ]


def nothing(asked: dict[str, Any]) -> dict[str, Any]:
    """Aggregations without a result."""
    return {
        name: {"doc_count": 0, "buckets": [], **nothing(said.get("aggs") or said.get("aggregations") or {})}
        for name, said in asked.items()
    }


def answer(hits: list[dict[str, Any]], said: dict[str, Any]) -> dict[str, Any]:
    start = int(said.get("from", 0))
    return {
        "took": 1,
        "timed_out": False,
        "_shards": SHARDS,
        "hits": {
            "total": {"value": len(hits), "relation": "eq"},
            "max_score": 1.0,
            "hits": hits[start : start + int(said.get("size", 10))],
        },
        "aggregations": nothing(said.get("aggs") or said.get("aggregations") or {}),
    }


class Search(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def go(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/") if part]
        status, told = self.told(parts, body)
        sent = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = go  # noqa: N815

    def told(self, parts: list[str], body: bytes) -> tuple[int, Any]:
        if not parts:
            return 200, {
                "name": "x",
                "cluster_name": "x",
                "version": {"number": "2.11.0", "distribution": "opensearch"},
            }
        verb = next((part for part in parts if part.startswith("_")), "")
        if verb == "_save":
            Path(sys.argv[2]).write_text(json.dumps(indices))
        if verb == "_bulk":
            return 200, {"took": 1, "errors": False, "items": list(self.bulk(body, parts[0]))}
        said = json.loads(body) if body.strip().startswith(b"{") and verb != "_msearch" else {}
        if verb in {"_doc", "_create", "_update"}:
            return self.document(parts[0], parts[-1], said)
        if verb == "_search":
            return 200, answer(found(parts[0], said.get("query", {})), said)
        if verb == "_count":
            return 200, {"count": len(found(parts[0], said.get("query", {}))), "_shards": SHARDS}
        if verb == "_msearch":
            lines = [json.loads(line) for line in body.splitlines() if line.strip()]
            asked = zip(lines[::2], lines[1::2], strict=True)
            names = [(",".join(several(head.get("index", "*"))), query) for head, query in asked]
            return 200, {"responses": [answer(found(name, query.get("query", {})), query) for name, query in names]}
        return 200, {"acknowledged": True, "_shards": SHARDS}

    def document(self, index: str, key: str, said: dict[str, Any]) -> tuple[int, Any]:
        if self.command == "GET":
            there = indices[index].get(key)
            return (200 if there else 404), {"_index": index, "_id": key, "found": bool(there), "_source": there}
        if self.command == "DELETE":
            indices[index].pop(key, None)
        else:
            indices[index][key] = said.get("doc", said)
        return 200, {"_index": index, "_id": key, "_version": 1, "result": "created", "_shards": SHARDS}

    def bulk(self, body: bytes, default: str) -> Iterator[dict[str, Any]]:
        lines = iter([json.loads(line) for line in body.splitlines() if line.strip()])
        for line in lines:
            ((action, head),) = line.items()
            index, key = head.get("_index", default), str(head.get("_id"))
            if action == "delete":
                indices[index].pop(key, None)
            else:
                said = next(lines)
                indices[index][key] = said.get("doc", said) if action == "update" else said
            yield {action: {"_index": index, "_id": key, "status": 200}}


if __name__ == "__main__":
    if Path(sys.argv[2]).exists():
        indices.update(json.loads(Path(sys.argv[2]).read_text()))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Search).serve_forever()
