"""Maps by their registered names: whole, in part at a host, and from the command line."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from dataferry import FileUnavailable, MapError, Offline, PackageData
from dataferry.testing import IgnoresRange, RangeServer

NAME, NSIDE = "maps/sky.fits", 256
NPIX = 12 * NSIDE**2


@pytest.fixture(scope="module")
def sky():
    """A map of three fields in rows of 1024 pixels, as healpy writes them."""
    values = np.arange(3 * NPIX, dtype=">f4").reshape(3, NPIX)
    columns = [
        fits.Column(name, "1024E", unit="uK", array=value.reshape(-1, 1024))
        for name, value in zip("IQU", values, strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "INDXSCHM": "IMPLICIT"})
    file = io.BytesIO()
    table.writeto(file)
    return file.getvalue(), values


@pytest.fixture
def server(sky):
    with RangeServer({NAME: sky[0]}) as running:
        yield running


@pytest.fixture
def package(make_package, sky, server):
    return make_package({NAME: sky[0]}, head=f'dataurl = "{server.url}"')


def test_a_registered_map_is_fetched_verified_and_read(package, sky):
    data = PackageData(package, show_progress=False)
    found = data.read_map(NAME, None, unit="K")
    assert found.unit == u.K and found.shape == (3, NPIX)
    np.testing.assert_allclose(found.value, sky[1] * 1e-6, rtol=1e-6)
    assert data.header(NAME)["NSIDE"] == NSIDE
    assert data.where(NAME).path is not None


def test_a_part_is_read_at_the_host_and_says_so(package, sky, server):
    data = PackageData(package)
    found = data.read_map(NAME, "Q", pixels=range(5000, 5100), remote=True)
    np.testing.assert_array_equal(found.value, sky[1][1][5000:5100])
    assert found.info.meta["verified"] is False
    assert found.info.meta["moved_bytes"] == sum(r.sent for r in server.requests) < 100_000
    assert data.header(NAME, remote=True)["NSIDE"] == NSIDE
    assert data.where(NAME).path is None
    data.get(NAME)
    server.forget()
    assert data.read_map(NAME, pixels=[0], remote=True).value == [0.0]
    assert not server.requests


def test_a_mirror_is_asked_where_a_host_has_no_ranges(make_package, sky, server):
    with RangeServer({NAME: sky[0]}) as mirror:
        server.fault("*", IgnoresRange())
        package = make_package({NAME: sky[0]}, head=f'dataurl = "{server.url}"\nmirrors = "{mirror.url}"')
        assert PackageData(package).read_map(NAME, pixels=[7], remote=True).value == [7.0]
        assert mirror.requests
    alone = make_package({NAME: sky[0]}, head=f'dataurl = "{server.url}"')
    with pytest.raises(MapError, match="range"):
        PackageData(alone).read_map(NAME, pixels=[7], remote=True)


@pytest.mark.parametrize(
    "options", [{"field": 9}, {"pixels": [NPIX]}, {"order": "x"}, {"nside": 3}, {"unit": "s"}, {"hdu": 7}]
)
def test_what_no_host_has_is_an_error_at_once(make_package, sky, server, options):
    with RangeServer({NAME: sky[0]}) as mirror:
        package = make_package({NAME: sky[0]}, head=f'dataurl = "{server.url}"\nmirrors = "{mirror.url}"')
        with pytest.raises(MapError):
            PackageData(package).read_map(NAME, remote=True, **options)
        assert server.requests
        assert not mirror.requests


@pytest.mark.parametrize("copy", [b"<html>log in</html>" * 999, b"cut", b""])
def test_a_mirror_is_asked_where_a_copy_is_damaged(make_package, sky, copy):
    wrong = {NAME: sky[0][:9000] if copy == b"cut" else copy}
    with RangeServer(wrong) as first, RangeServer({NAME: sky[0]}) as mirror:
        package = make_package({NAME: sky[0]}, head=f'dataurl = "{first.url}"\nmirrors = "{mirror.url}"')
        assert PackageData(package).read_map(NAME, pixels=[7], remote=True).value == [7.0]
        assert first.requests and mirror.requests


def test_offline(package, monkeypatch):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    with pytest.raises(Offline, match=f"dataferry get {package} {NAME}"):
        PackageData(package).read_map(NAME, pixels=[7], remote=True)


def test_the_commands(package, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = command("info", package, NAME)
    assert told.exit_code == 0 and "256" in told.stdout and "read_map" in told.stdout
    drawn = command("show", package, NAME, "-o", "sky.png")
    assert drawn.exit_code == 0
    assert (tmp_path / "sky.png").read_bytes().startswith(b"\x89PNG")
    assert command("info", "nothing.fits").exit_code == 2
    (tmp_path / "text.fits").write_text("not FITS")
    wrong = command("info", "text.fits")
    assert wrong.exit_code == 1 and "text.fits" in wrong.stderr


def test_every_host_that_has_no_part_of_it_is_named(make_package, sky):
    with RangeServer({}) as primary, RangeServer({NAME: b"<html>log in</html>"}) as mirror:
        package = make_package({NAME: sky[0]}, head=f'dataurl = "{primary.url}"\nmirrors = ["{mirror.url}"]')
        with pytest.raises(FileUnavailable, match="404(?s:.*)without remote=True") as caught:
            PackageData(package).header(NAME, remote=True)
    assert [failure.place for failure in caught.value.failures] == [primary.url_of(NAME), mirror.url_of(NAME)]
