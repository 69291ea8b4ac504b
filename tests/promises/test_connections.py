"""How many connections a host gets, and which of several hosts brings the bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import DATA, MB, NAME, Make, config, get, one_connection, package_at, sent
from dataferry_test_servers.gate import SharedLink

from dataferry import PackageData
from dataferry.testing import CertificateAuthority, Fault, NeverAnswers, RangeServer, Stall
from dataferry.testing.content import Request, Response


def most_at_once(server: RangeServer) -> int:
    return len({request.connection for request in server.requests})


def test_many_connections_where_each_is_throttled(make_package: Make) -> None:
    with RangeServer({NAME: DATA}, rate=MB // 2) as server:
        assert get(package_at(make_package, server)) == DATA
        assert 12 <= most_at_once(server) <= 16


def test_few_connections_where_one_is_at_the_limit(make_package: Make) -> None:
    data, used = DATA * 3, []
    while len(used) < 3 and min(used, default=16) > 10:  # a busy machine makes a link look as if more would pay
        with RangeServer({NAME: data}) as server:
            server.fault("*", SharedLink(20 * MB))
            assert get(package_at(make_package, server, data=data)) == data
            used.append(most_at_once(server))
    assert min(used) <= 10


def test_the_number_of_connections_can_be_set(make_package: Make) -> None:
    config('[hosts."127.0.0.1"]\nconnections = 3\n')
    with RangeServer({NAME: DATA}, rate=2 * MB) as server:
        assert get(package_at(make_package, server)) == DATA
        assert server.connections <= 3


def test_few_connections_serve_many_small_files(make_package: Make) -> None:
    config('[hosts."127.0.0.1"]\nconnections = 3\n')
    files = {f"{number}.bin": DATA[number : number + 2000] for number in range(200)}
    with RangeServer(files, delay=0.01) as server:
        paths = PackageData(make_package(files, head=f'dataurl = "{server.url}"'), show_progress=False).fetch()
        assert [Path(path).read_bytes() for path in paths] == list(files.values())
        assert server.connections <= 3


def test_a_slow_mirror_loses_the_rest_to_a_faster_one(make_package: Make) -> None:
    one_connection()
    with RangeServer({NAME: DATA}, rate=MB // 2) as slow, RangeServer({NAME: DATA}) as fast:
        assert get(package_at(make_package, slow, fast)) == DATA
        assert sent(slow) < len(DATA) / 2 < sent(fast)
        assert sent(slow, fast) < 1.2 * len(DATA)


@pytest.mark.parametrize("fault", [Stall(), NeverAnswers()], ids=["stalls", "never answers"])
def test_a_mirror_that_brings_nothing_leaves_its_part_to_the_slow_one(fault: Fault, make_package: Make) -> None:
    """It is tried because the first one is slow, and ends when that one has the rest of the file."""
    one_connection()
    with RangeServer({NAME: DATA}, rate=2 * MB) as slow, RangeServer({NAME: DATA}) as other:
        other.fault("*", fault)
        package = package_at(make_package, slow, other)
        assert Path(PackageData(package, show_progress=False).get(NAME, deadline=60)).read_bytes() == DATA
        assert other.requests


class OneAnswer(Fault):
    """Connections that go silent after their first answer, as behind a NAT or a proxy that forgets them."""

    def response(self, response: Response, request: Request) -> Response:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {response.headers['Content-Length']}\r\n\r\n".encode()
        return replace(response, head=b"", pieces=[head, *response.pieces], ending="stall")


def test_connections_that_have_gone_silent_do_not_use_up_the_attempts(make_package: Make) -> None:
    files = {f"{number}.bin": bytes([number]) * 20_000 for number in range(9)}
    first, last = list(files)[:8], list(files)[8]
    with RangeServer(files) as server:
        server.fault("*", OneAnswer())
        data = PackageData(make_package(files, head=f'dataurl = "{server.url}"\ntimeout = 0.5\n'), show_progress=False)
        data.fetch(first, jobs=8)
        assert data.contents(last) == files[last]
        assert len(server.requests) == len(files)


def test_progress_names_the_files_that_are_being_downloaded(make_package: Make) -> None:
    files = {f"{number}.bin": DATA[number : number + 150_000] for number in range(3)}
    seen: list[int] = []
    with RangeServer(files, rate=500_000) as server:
        data = PackageData(make_package(files, head=f'dataurl = "{server.url}"'))
        data.fetch(jobs=1, progress=lambda progress: seen.append(len(progress.files)))
    assert set(seen) == {0, 1}


def test_http2_carries_many_small_files_over_few_connections(
    make_package: Make, nginx: Callable[..., Any], tls_ca: CertificateAuthority, tmp_path: Path
) -> None:
    files = {f"{number}.bin": DATA[number : number + 2000] for number in range(300)}
    www = tmp_path / "www"
    www.mkdir()
    for name, content in files.items():
        (www / name).write_bytes(content)
    server = nginx(www, tls=True, http2=True)
    config(f'[hosts."127.0.0.1"]\nca_bundle = "{tls_ca.pem}"\n')
    paths = PackageData(make_package(files, head=f'dataurl = "{server.url}"'), show_progress=False).fetch()
    assert [Path(path).read_bytes() for path in paths] == list(files.values())
    server.stop()
    connections = {line.split()[4] for line in server.log.read_text().splitlines()}
    assert len(connections) <= 2
