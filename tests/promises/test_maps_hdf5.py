"""HDF5 maps of other packages: attributes by their names and places, pixel numbers beside values, masks."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from astropy import units as u

from dataferry import maps
from dataferry.errors import MapError

NSIDE = 4
NPIX = 12 * NSIDE**2


@pytest.fixture
def h5py(need):
    return need.module("h5py")


@pytest.mark.parametrize(
    "attrs",
    [
        {"pixel_ordering_scheme": "nested"},
        {"nested": True},
        {"NESTED": np.bool_(True)},
        {"nest": 1},
        {"ordering": b"NESTED"},
        {"ORDERING": " nest "},
        {"ordering_scheme": "NESTED"},
    ],
)
@pytest.mark.parametrize("level", ["file", "group", "dataset"])
def test_the_ordering_is_found(h5py, tmp_path, attrs, level):
    hp = pytest.importorskip("healpy")
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["sky/one"] = np.arange(NPIX)
        {"file": made, "group": made["sky"], "dataset": made["sky/one"]}[level].attrs.update(attrs)
    np.testing.assert_array_equal(maps.read_map(tmp_path / "a.h5").value, hp.reorder(np.arange(NPIX), n2r=True))
    assert "order_from" not in maps.read_map(tmp_path / "a.h5").info.meta


@pytest.mark.parametrize("nest", [False, 0, "False"])
def test_attributes_that_say_ring(h5py, tmp_path, nest):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["one"] = np.arange(NPIX)
        made["one"].attrs["nested"] = nest
        made.attrs["nested"] = True  # what is nearer counts
    np.testing.assert_array_equal(maps.read_map(tmp_path / "a.h5").value, np.arange(NPIX))


def test_an_ordering_that_was_assumed(h5py, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["one"] = np.arange(NPIX)
    assert maps.read_map(tmp_path / "a.h5").info.meta["order_from"] == "assumed"
    assert "a guess" in maps.info(tmp_path / "a.h5")


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
def test_scaled_values_with_nulls(h5py, tmp_path, key, compression):
    stored = np.arange(NPIX, dtype="i2")
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made.create_dataset("t", data=stored, compression=compression)
        made["t"].attrs.update({"scale_factor": 0.5, "add_offset": 100.0, key: np.int16(7), "units": "mK"})
    got = maps.read_map(tmp_path / "a.h5")
    expected = 100 + 0.5 * stored
    expected[7] = maps.UNSEEN
    np.testing.assert_array_equal(got.value, expected)
    assert got.unit == u.mK
    with h5py.File(tmp_path / "b.h5", "w") as made:
        made["t"] = np.where(stored == 7, np.nan, stored).astype("f4")
        made["t"].attrs[key] = np.nan
    assert maps.read_map(tmp_path / "b.h5", fill=-1).value[6:9].tolist() == [6, -1, 8]
    with h5py.File(tmp_path / "c.h5", "w") as made:
        made["t"] = stored
        made["t"].attrs["scale_factor"] = "half"
    with pytest.raises(MapError, match="scale_factor='half' is not a number"):
        maps.read_map(tmp_path / "c.h5")


@pytest.mark.parametrize("name", ["ipix", "pixels", "healpix_index"])
def test_pixel_numbers_beside_values_of_the_whole_sky(h5py, tmp_path, name):
    numbers = np.random.default_rng(0).permutation(NPIX)
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made[name] = numbers
        made["temperature"] = numbers * 2.0
    for hdu in (None, "temperature"):
        np.testing.assert_array_equal(maps.read_map(tmp_path / "a.h5", hdu=hdu).value, np.arange(NPIX) * 2.0)
    pixels, values = maps.read_partial(tmp_path / "a.h5")
    np.testing.assert_array_equal(pixels, numbers)
    np.testing.assert_array_equal(values.value, numbers * 2.0)


def test_pixel_numbers_beside_values_of_a_part(h5py, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["map/pixels"] = np.array([3, 500, 9])
        made["map/values"] = np.array([1.0, 2.0, 3.0])
        made["map"].attrs.update({"nside": 64, "ordering": "NESTED"})
    got = maps.read_map(tmp_path / "a.h5", order="file")
    assert got.info.meta["nside"] == 64
    assert got.value[[3, 500, 9]].tolist() == [1, 2, 3]
    assert (got.value == maps.UNSEEN).sum() == 12 * 64**2 - 3


def test_pixel_numbers_alone_are_no_map(h5py, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["ipix"] = np.arange(NPIX)
    with pytest.raises(MapError, match="no dataset has the shape of a HEALPix map.*'/ipix'"):
        maps.read_map(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as made:
        made["ipix"] = np.arange(NPIX)
        made["one"] = made["two"] = np.zeros(NPIX)
    with pytest.raises(MapError, match="'/one' or '/two'"):
        maps.read_map(tmp_path / "b.h5")


def test_masks(h5py, tmp_path):
    mask = np.arange(NPIX) % 3 == 0
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["mask"] = mask
        made["mask"].attrs["nside"] = str(NSIDE)
    got = maps.read_map(tmp_path / "a.h5")
    assert got.dtype == np.dtype(bool)
    np.testing.assert_array_equal(got.value, mask)
    np.testing.assert_array_equal(maps.read_map(tmp_path / "a.h5", pixels=[3, 4]).value, [True, False])


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_user_block(h5py, tmp_path, compression):
    values = np.random.default_rng(0).standard_normal((2, NPIX))
    for size in (512, 4096):
        path = tmp_path / f"{size}.h5"
        with h5py.File(path, "w", userblock_size=size) as made:
            made.create_dataset("t", data=values, compression=compression)
        np.testing.assert_array_equal(maps.read_map(path, None).value, values)
        assert "HEALPix map" in maps.info(path)


def test_datasets_of_every_shape(h5py, tmp_path):
    values = np.random.default_rng(0).standard_normal((3, NPIX))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made.create_dataset("sky/plain", data=values.astype("<f4"))
        made["sky/plain"].attrs.update({"unit": "uK_RJ", "ordering": "NESTED", "nside": NSIDE})
        made.create_dataset("packed", data=values.T, chunks=(64, 3), compression="gzip")
        made.create_dataset("big_endian", data=values[0].astype(">f8"))
        made.create_dataset("catalogue", data=np.arange(17))
    got = maps.read_map(path, None, hdu="sky/plain", order="file")
    np.testing.assert_array_equal(got.value, values.astype("f4"))
    assert got.unit.is_equivalent(maps.K_RJ)
    assert got.info.meta["order"] == "NESTED"
    np.testing.assert_array_equal(maps.read_map(path, (2, 0), hdu="packed").value, values[[2, 0]])
    np.testing.assert_array_equal(maps.read_map(path, hdu="big_endian", pixels=[3, 1]).value, values[0, [3, 1]])
    with pytest.raises(MapError, match="several datasets"):
        maps.read_map(path)
    with pytest.raises(MapError, match="no dataset"):
        maps.read_map(path, hdu="nothing")
    with pytest.raises(MapError, match="17 values"):
        maps.read_map(path, hdu="catalogue")


def test_hdf5_links_and_values_outside_the_file(h5py, tmp_path):
    values = np.arange(NPIX, dtype="f4")
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["m"] = values
    with h5py.File(tmp_path / "b.h5", "w") as made:
        made["other"] = np.zeros(2 * NPIX + 1, "f4")
        made["m"] = h5py.ExternalLink("a.h5", "/m")
        made["gone"] = h5py.ExternalLink("nothing.h5", "/m")
        made["soft"] = h5py.SoftLink("/m")
        made.create_dataset("raw", (NPIX,), "f4", external=[(str(tmp_path / "raw.bin"), 0, 4 * NPIX)])[:] = values
    for name in ("m", "soft", "raw"):
        np.testing.assert_array_equal(maps.read_map(tmp_path / "b.h5", hdu=name).value, values)
    with pytest.raises(MapError, match=r"b\.h5.*'gone'"):
        maps.read_map(tmp_path / "b.h5", hdu="gone")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text", "not numbers"),
        ("complex", "complex128, not numbers"),
        ("compound", "not numbers"),
        ("scalar", "0 axes"),
        ("cube", "3 axes"),
        ("empty", "is empty"),
        ("two", r"nside is array\(\[4, 4\]\)"),
        ("three", "no power of two"),
        ("group", "no dataset"),
        (1, "no dataset 1"),
    ],
)
def test_hdf5_datasets_that_are_no_map(h5py, tmp_path, name, said):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["text"] = ["a"] * NPIX
        made["complex"] = np.zeros(NPIX, complex)
        made["compound"] = np.zeros(NPIX, [("a", "f4"), ("b", "f4")])
        made["scalar"] = 5.0
        made["cube"] = np.zeros((2, 2, NPIX))
        made["empty"] = h5py.Empty("f4")
        made["two"] = np.zeros(NPIX)
        made["two"].attrs["nside"] = [NSIDE, NSIDE]
        made["three"] = np.zeros(12 * 9)
        made["three"].attrs["ordering"] = "NESTED"
        made.create_group("group")
    with pytest.raises(MapError, match=said) as caught:
        maps.read_map(tmp_path / "a.h5", hdu=name)
    assert "a.h5" in str(caught.value)


@pytest.mark.parametrize(
    "cards",
    [
        {"grid_name": "healpix", "level": 2, "indexing_scheme": "nested"},
        {"grid_mapping_name": "healpix", "refinement_level": 2, "indexing_scheme": "nested"},
        {"nside": NSIDE, "nest": True},
    ],
    ids=["xdggs", "CF", "plain"],
)
@pytest.mark.parametrize("count", [NPIX, 5])
def test_attributes_of_the_pixel_numbers(h5py, tmp_path, cards, count):
    hp = pytest.importorskip("healpy")
    sky = np.full(NPIX, maps.UNSEEN)
    sky[:count] = np.arange(count)
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["cell_ids"] = np.arange(count)
        made["cell_ids"].attrs.update(cards)
        made["tas"] = np.arange(float(count))
        made["tas"].attrs.update(units="K", level=500)
    found = maps.read_map(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.value, hp.reorder(sky, n2r=True))
    assert found.unit == u.K and "order_from" not in found.info.meta


@pytest.mark.parametrize(
    "cards",
    [{"refinement_level": 2, "indexing_scheme": "nested"}, {"healpix_nside": NSIDE, "healpix_order": "nest"}],
    ids=["CF", "EERIE"],
)
def test_attributes_of_the_grid_mapping(h5py, tmp_path, cards):
    hp = pytest.importorskip("healpy")
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["crs"] = 0
        made["crs"].attrs.update(cards)
        made["tas"] = np.arange(NPIX)
        made["tas"].attrs["grid_mapping"] = "crs"
    np.testing.assert_array_equal(maps.read_map(tmp_path / "a.h5").value, hp.reorder(np.arange(NPIX), n2r=True))


def test_a_part_of_the_sky_without_nside(h5py, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["ipix"], made["m"] = np.arange(5), np.arange(5.0)
    with pytest.raises(MapError, match="nside is missing"):
        maps.read_map(tmp_path / "a.h5")


@pytest.mark.parametrize("value", [np.arange(2), np.array([]), b"\xff\xfe", 2.5, "", "."], ids=repr)
@pytest.mark.parametrize(
    "key", ["ordering", "nested", "nside", "refinement_level", "grid_mapping", "_FillValue", "units"]
)
def test_attributes_of_any_kind_are_read_or_named(h5py, tmp_path, key, value):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["ipix"], made["m"] = np.arange(NPIX), np.arange(float(NPIX))
        made["m"].attrs[key] = value
    with suppress(MapError):
        assert maps.read_map(tmp_path / "a.h5").size == NPIX


def test_file_and_dataset_of_a_result_read_it_again(h5py, need, tmp_path):
    need.module("matplotlib")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made["sky/m"] = np.arange(float(NPIX))
    meta = maps.read_map(path).info.meta
    assert (meta["file"], meta["hdu"]) == (str(path), "/sky/m")
    np.testing.assert_array_equal(maps.read_map(meta["file"], hdu=meta["hdu"]).value, np.arange(NPIX))
    assert "map in dataset /sky/m" in maps.info(path)
    assert "a.h5" in maps.draw(path).get_suptitle()
    with pytest.raises(MapError, match="a.h5, dataset /sky/m"):
        maps.read_map(path, pixels=[NPIX])


@pytest.mark.parametrize("nside", ["²", "9" * 5000, "four", 2**40, np.zeros(0)], ids=lambda nside: str(nside)[:5])
def test_an_nside_that_is_no_number(h5py, tmp_path, nside):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["one"] = np.arange(NPIX)
        made["one"].attrs["nside"] = nside
    with pytest.raises(MapError, match="not a whole-sky map"):
        maps.read_map(tmp_path / "a.h5")


def test_info_of_a_scale_that_is_no_number(h5py, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["one"] = np.arange(NPIX)
        made["one"].attrs["scale_factor"] = "half"
    assert "scale_factor='half' is not a number" in maps.info(tmp_path / "a.h5")


def test_damage_of_every_byte(h5py, tmp_path):
    """h5py raises RuntimeError, KeyError, ValueError and more."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made.create_dataset("sky/one", data=np.arange(NPIX, dtype="i2"), chunks=(64,), compression="gzip")
        made["sky"].attrs["nested"] = True
        made["sky"].attrs["numbers"] = np.arange(3)
    whole = path.read_bytes()
    for at in range(0, len(whole), 29):
        path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        for read in (maps.read_map, maps.info):
            with suppress(MapError):
                read(path)
