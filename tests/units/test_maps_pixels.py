"""Pixel numbers of directions and rings, the projection of plots, and the number of threads."""

from __future__ import annotations

import os

import numpy as np
import pytest

from dataferry.maps.columns import count_threads
from dataferry.maps.healpix import ang2pix, first_of_ring, ring_of
from dataferry.maps.plot import mollweide


@pytest.mark.parametrize("nside", [1, 2, 3, 8, 100, 4096])
def test_directions_are_the_pixels_that_healpy_finds(nside):
    hp = pytest.importorskip("healpy")
    rng = np.random.default_rng(nside)
    lon, lat = rng.uniform(-np.pi, 3 * np.pi, 20000), np.arcsin(rng.uniform(-1, 1, 20000))
    np.testing.assert_array_equal(ang2pix(nside, lon, lat), hp.ang2pix(nside, np.pi / 2 - lat, lon))


def test_mollweide_is_equal_area():
    pixels, inside = mollweide(4, 800)
    assert inside.shape == (400, 800)
    counts = np.bincount(pixels, minlength=192)
    assert counts.std() / counts.mean() < 0.05


@pytest.mark.parametrize("nside", [1, 2, 8, 1024])
def test_rings(nside):
    hp = pytest.importorskip("healpy")
    for ring in {1, 2, nside // 2 or 1, nside, nside + 1, 2 * nside, 3 * nside, 4 * nside - 1} & set(
        range(1, 4 * nside)
    ):
        first, after = first_of_ring(nside, ring), first_of_ring(nside, ring + 1)
        start, count, *_ = hp.ringinfo(nside, np.array([ring]))
        assert (first, after - first) == (start[0], count[0])
        assert ring_of(nside, first) == ring_of(nside, after - 1) == ring


def test_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4), raising=False)
    for stated, threads in {"": 4, "2": 2, "1,4": 1, "many": 4, "0": 4, "16": 4}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
        assert count_threads() == threads
