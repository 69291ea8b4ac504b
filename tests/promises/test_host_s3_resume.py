"""Uploads to buckets that are cut go on, at a real store on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dataferry.errors import PublishError
from dataferry.testing.author import empty_home

pytestmark = pytest.mark.usefixtures("no_aws_keys")

MIB = 1 << 20
#: The parts of files that the fixture ``shop`` has dataferry make.
PART = 5 * MIB
#: A program of its own divides files as this one does.
SMALL_PARTS = f"from dataferry.hosts import s3; s3.ONE_REQUEST = {PART}; "


class TestCut:
    """The network goes, or the program is killed, in the middle; the next run goes on and sends nothing twice."""

    SIZE = 12 * PART + 1
    CUT = 10 * PART + MIB  # eight parts are on their way at most, so two at least are finished

    @pytest.fixture
    def link(self, radosgw: Any, counted_link: Callable[[str], Any]) -> Any:
        return counted_link(radosgw.url)

    def test_a_cut_network(self, shop: Any, link: Any) -> None:
        author, data = shop.author(endpoint=link.url), os.urandom(self.SIZE)
        shop.patch.setenv("AWS_MAX_ATTEMPTS", "1")
        link.cut_after(self.CUT)
        with pytest.raises(PublishError, match="the same command continues"):
            author.publish({"large.bin": data})
        assert not author.registry.exists()
        assert shop.unfinished() == ["v1/large.bin"]
        done, sent = shop.finished("v1/large.bin"), link.sent
        assert done >= 2 * PART
        link.mend()
        author.publish({"large.bin": data})
        assert link.sent - sent < self.SIZE - done + MIB, "a finished part was sent again"
        assert author.users_get(["large.bin"]) == {"large.bin": data}
        assert shop.unfinished() == []

    @pytest.mark.parametrize(
        "notes",
        [pytest.param("with notes", marks=pytest.mark.nightly), "on another machine"],  # the cut network has notes too
    )
    def test_kill_9(self, shop: Any, link: Any, notes: str) -> None:
        author, data = shop.author(endpoint=link.url), os.urandom(self.SIZE)
        path = shop.folder / "large.bin"
        path.write_bytes(data)
        script = "import sys; from dataferry.publish import publish; publish({'large.bin': sys.argv[1]}, *sys.argv[2:])"
        words = [sys.executable, "-c", SMALL_PARTS + script, str(path), author.spec, str(author.registry)]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
            link.call_after(self.CUT, killed.kill)
            assert killed.wait(60) == -signal.SIGKILL
        done = shop.finished("v1/large.bin")
        assert done >= 2 * PART
        if notes == "on another machine":
            empty_home(shop.folder / "elsewhere", shop.patch)
        sent = link.sent
        author.publish({"large.bin": data})
        assert link.sent - sent < self.SIZE - done + MIB, "a finished part was sent again"
        assert author.users_get(["large.bin"]) == {"large.bin": data}
        assert shop.unfinished() == []

    def test_ctrl_c(self, shop: Any, link: Any) -> None:
        author = shop.author(endpoint=link.url)
        path = shop.folder / "large.bin"
        size = 4 * PART + 1
        path.write_bytes(os.urandom(size))
        author.registry.parent.mkdir(parents=True)
        author.registry.touch()
        script = SMALL_PARTS + "from dataferry.cli import main; main()"
        words = [sys.executable, "-c", script, "publish", str(path), "--as", "large.bin", "--to", author.spec]
        words += ["--package", str(author.registry)]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as stopped:
            ended = threading.Event()

            def stop() -> None:
                stopped.send_signal(signal.SIGINT)
                ended.wait(60)  # this connection stands still, so the upload cannot come to its end before

            link.call_after(size // 2, stop)
            said = stopped.communicate(timeout=60)[1]
            ended.set()
        assert stopped.returncode == 130, said
        author.publish({"large.bin": path.read_bytes()})
        assert shop.unfinished() == []

    def test_what_others_began_is_left_alone_and_what_is_ours_is_removed(self, shop: Any) -> None:
        author, data = shop.author(), os.urandom(PART + MIB)
        client, key = shop.radosgw.client(shop.ann), {"Bucket": shop.bucket, "Key": "v1/large.bin"}
        ids = []
        for body in (data[:PART], data[:PART], b"other bytes"):
            ids.append(client.create_multipart_upload(**key)["UploadId"])
            client.upload_part(**key, UploadId=ids[-1], PartNumber=1, Body=body)
        author.publish({"large.bin": data})
        assert [i["UploadId"] for i in client.list_multipart_uploads(Bucket=shop.bucket)["Uploads"]] == ids[2:]
        assert client.list_multipart_uploads(Bucket=shop.bucket)["Uploads"][0]["UploadId"] == ids[2]
        assert author.users_get(["large.bin"]) == {"large.bin": data}
