"""Ctrl-C ends each command at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import DATA, MB, NAME, Make, environment, package_at, until
from dataferry_test_servers.gate import Gate

from dataferry.testing import RangeServer, Stall

FETCH = "from dataferry import PackageData; PackageData({package!r}).fetch('*')"


@pytest.mark.parametrize("what", ["get", "fetch", "check", "check --deep", "add --from", "publish"])
def test_ctrl_c_waits_for_no_server(what: str, make_package: Make, tmp_path: Path) -> None:
    """Each command ends at once although the host would be waited for much longer than this test may take."""
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", Stall(after=1000))
        package = package_at(make_package, server, head="timeout = 600")
        (tmp_path / "hosted").mkdir()
        (tmp_path / "hosted" / "b.bin").write_bytes(DATA)
        target = tmp_path / "packages" / package
        host = f"folder:{tmp_path}/host?url={server.url}"
        (tmp_path / "host").mkdir()
        words = {
            "get": ["get", package, NAME],
            "check": ["check", package],
            "check --deep": ["check", "--deep", package],
            "add --from": ["add", str(target), "--from", server.url],
            "publish": ["publish", str(tmp_path / "hosted"), "--package", str(target), "--to", host],
            "fetch": [],
        }[what]
        if what == "add --from":
            server.fault("*", Stall(after=0))
        if what == "publish":
            (tmp_path / "host" / "b.bin").write_bytes(DATA)
            server.stop()
            public = RangeServer(tmp_path / "host", port=server.port)
            public.start()
            public.fault("*", Stall(after=1000))
        else:
            public = server
        code = ["-c", FETCH.format(package=package)] if what == "fetch" else ["-m", "dataferry", *words]
        run = subprocess.Popen(
            [sys.executable, *code],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            until(lambda: public.requests, run)
            run.send_signal(signal.SIGINT)
            _, err = run.communicate(timeout=60)
        finally:
            run.kill()
            run.communicate()
            public.stop()
    assert run.returncode == (-signal.SIGINT if what == "fetch" else 130), err
    assert what == "fetch" or b"Traceback" not in err


def test_ctrl_c_leaves_the_kept_bytes_in_the_bar(make_package: Make, need: Any) -> None:
    need.that("pty", sys.platform != "win32", "terminals of this system have no other end")
    import termios

    gate, bar, sent = Gate(8 * MB), b"", False
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", gate)
        package = package_at(make_package, server, head="timeout = 600")
        terminal, other_end = os.openpty()
        termios.tcsetwinsize(other_end, (25, 100))  # tqdm writes nothing where there are no columns
        words = [sys.executable, "-m", "dataferry", "get", package, NAME]
        run = subprocess.Popen(words, env=environment(TERM="xterm"), stdout=subprocess.PIPE, stderr=other_end)
        os.close(other_end)
        try:
            with suppress(OSError):  # EIO where the other end is closed
                while data := os.read(terminal, 1 << 16):
                    bar += data
                    percents = re.findall(rb"(\d+)%", bar)
                    if not sent and percents and int(percents[-1]) > 20:
                        run.send_signal(signal.SIGINT)
                        sent = True
        finally:
            run.kill()
            run.communicate()
            os.close(terminal)
            gate.open()
    assert run.returncode == 130
    percents, rates = re.findall(rb"(\d+)%", bar), re.findall(rb"(\S+)B/s", bar)
    assert 20 < int(percents[-1]) < 100
    assert b"<-" not in bar and not [rate for rate in rates if rate.startswith(b"-")]
