"""What lies in a cache that others write as well."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, NoReturn

from damage import SHA256, Dice, changed_bytes, json_bytes

from dataferry import PackageData
from dataferry.cache.prune import kept_views, remains, remove
from dataferry.cache.stamps import Stamps
from dataferry.cache.store import Store
from dataferry.download.partial_file import PartialFile
from dataferry.errors import Offline, TransferError
from dataferry.files import Stamp
from dataferry.hosts.api_client import ApiClient
from dataferry.publish import plan
from dataferry.publish.state import Checkpoint, rates


def journals(dice: Dice, folder: Path) -> None:
    """What another process or another user left in the cache."""
    size = dice.choice([5, None])
    partial = PartialFile.open(folder, "id", size, "a.bin")
    partial.describe(etag='"a"', source="https://h.example/", name="a.bin")
    partial.write(0, [b"abc"])
    partial.close() if hasattr(partial, "close") else None
    for path in folder.rglob("ranges"):
        lines = path.read_bytes().split(b"\n")
        at = dice.randrange(len(lines))
        odd = b"#" + json_bytes(dice, {"size": 5, "boot": "b", "since": 5, "etag": '"a"'})
        lines[at] = dice.choice([odd, changed_bytes(dice, lines[at])])
        path.write_bytes(b"\n".join(lines))
    again = PartialFile.open(folder, "id", size, "a.bin")
    again.older_claim(), again.discard()


def stamps(dice: Dice, folder: Path) -> None:
    key, file = "0" * 32, folder / "file"
    file.write_bytes(b"x")
    now = os.stat(file)
    made = Stamps(str(folder / "stamps"))
    made.keep({key: Stamp(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, SHA256)})
    for path in (folder / "stamps").iterdir():
        path.write_bytes(changed_bytes(dice, path.read_bytes()))
    again = Stamps(str(folder / "stamps"))
    again.read(key), again.holds(key, now, SHA256), again.forget([key])


BYTES, URL = b"01234", "https://h.example/a.bin"


def cache_entries(dice: Dice, folder: Path) -> None:
    """What another program or another user made of a cache: entries of astropy, links, files that are folders."""
    os.environ |= {"ASTROPY_CACHE_DIR": str(folder), "DATAFERRY_OFFLINE": "1"}
    sha256 = hashlib.sha256(BYTES).hexdigest()
    data = PackageData("mypkg", files={"a.bin": sha256}, dataurl="https://h.example/", show_progress=False)
    store = Store("mypkg", "https://h.example/")
    store.put("a.bin", BYTES, sha256)
    store.flush()
    for path in dice.sample([path for path in folder.rglob("*") if not path.is_dir()], dice.choice([1, 2])):
        if not path.is_file():
            continue  # what was done to another one has ended it
        old = path.read_bytes()
        path.unlink()
        make = [
            lambda: path.write_bytes(changed_bytes(dice, old)),  # noqa: B023 - it is called in this turn
            path.mkdir,
            lambda: os.mkfifo(path),  # noqa: B023
            lambda: os.symlink(dice.choice(["..", "nowhere", "/etc/passwd", path.name, "../" * 20 + "x"]), path),  # noqa: B023
            lambda: None,
        ]
        dice.choice([make[0], *make])()
    with contextlib.suppress(Offline):
        assert Path(data.get("a.bin")).read_bytes() == BYTES
    str(data.where("a.bin")), remains(str(folder / "dataferry"))
    remove(kept_views(), [])


def no_answer(self: ApiClient, method: str, path: str, **how: Any) -> NoReturn:
    raise TransferError(path, "no answer")


def checkpoints(dice: Dice, folder: Path) -> None:
    """The notes of an upload that was killed, and the rates of earlier ones."""
    os.environ["ASTROPY_CACHE_DIR"] = str(folder)
    (folder / "served").mkdir()
    (folder / "a.bin").write_bytes(BYTES)
    ApiClient.call = no_answer
    registry, spec = folder / "dataferry.toml", f"folder:{folder}/served?url=https://h.example/"
    checkpoint = Checkpoint(registry, spec)
    checkpoint.proven["a.bin"] = SHA256
    checkpoint.host["draft"] = "5"
    checkpoint.file("a.bin", SHA256)["upload_id"] = "u"
    rates()[f"up {spec}"] = rates()[f"up folder:{folder}/served"] = 5
    for path in checkpoint.home.rglob("*.json"):
        path.write_bytes(json_bytes(dice, json.loads(path.read_bytes())))
    made = plan({"a.bin": folder / "a.bin"}, spec, registry, progress=False)
    [host.seconds for host in made.hosts]
    again = Checkpoint(registry, spec)
    str(again.host.get("draft")), str(again.file("a.bin", SHA256).get("upload_id")), again.forget_host()
