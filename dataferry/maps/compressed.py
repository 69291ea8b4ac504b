"""Maps stored as tile-compressed images: astropy unpacks them, the rest is as for any other map."""

from __future__ import annotations

import io
from dataclasses import replace

from .columns import Column, columns_of
from .headers import Hdu
from .source import ByteSource, LocalFile, Memory

__all__ = ["unpacked"]


def unpacked(source: ByteSource, hdu: Hdu) -> tuple[Hdu, list[Column]]:
    """Unpack a tile-compressed image.

    Parameters
    ----------
    source : ByteSource
        The file.
    hdu : Hdu
        The table that holds the tiles.

    Returns
    -------
    header : Hdu
        That of the image.
    columns : list of Column
        One, over values in memory.

    Raises
    ------
    MapError
        If it does not unpack, or is at a server.
    """
    import warnings

    import numpy as np
    from astropy.io import fits

    place = source.place.in_hdu(hdu.index)
    if source.lanes:
        raise place.error("is tile-compressed and cannot be read in part", "fetch it whole: dataferry get")
    name = source.place.file if isinstance(source, LocalFile) else io.BytesIO(source.read(0, source.size))
    try:
        # unscaled: scaling and blanks are done as for any column
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(name, do_not_scale_image_data=True) as opened:
                data = opened[hdu.index].data
                raw = np.ascontiguousarray(data).astype(data.dtype.newbyteorder(">"))
    except Exception as error:  # the codecs of astropy raise anything
        raise place.error(f"its tiles do not unpack: {error}", "the file may be damaged") from error
    cards = dict(hdu.cards)
    axes = hdu.number("ZNAXIS")
    cards |= {"XTENSION": "IMAGE", "BITPIX": hdu["ZBITPIX"], "NAXIS": axes, "ZIMAGE": False}
    cards |= {f"NAXIS{n}": hdu[f"ZNAXIS{n}"] for n in range(1, axes + 1)}
    cards["BITPIX"] = (-8 if raw.dtype.kind == "f" else 8) * raw.dtype.itemsize
    memory = Memory(raw.view("u1").reshape(-1).data, source.place)
    image = replace(hdu, cards=cards, data=0, size=raw.nbytes)
    return image, columns_of(memory, image)
