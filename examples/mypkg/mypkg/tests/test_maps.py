"""The functions that users call."""

import astropy.units as u
import numpy as np
import pytest

from dataferry import DataferryError
from mypkg import load_bands, load_map


def test_bundled_map():
    """The bundled map needs no download."""
    maps, header = load_map()
    assert maps.shape == (3, 12 * header["NSIDE"] ** 2) == (3, 3072)
    assert maps.unit == u.MJy / u.sr
    assert maps.dtype == np.float32
    assert header["ORDERING"] == "NESTED"
    assert np.all(np.hypot(maps[1], maps[2]) < maps[0])


def test_bands():
    """The table carries its units."""
    bands = load_bands()
    assert len(bands) == 6
    assert bands["center_frequency"].max() == 280 * u.GHz


def test_a_wrong_name():
    """A typing mistake gets an error with the right name."""
    with pytest.raises(DataferryError, match=r"maps/dust_016\.fits"):
        load_map("maps/dust_16.fits")
