"""Tile-compressed images: astropy unpacks the tiles, the rest is as for any other image."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MapError
from .byte_source import ByteSource, Memory
from .fits import Column, Hdu, image_column


def unpack_image(source: ByteSource, hdu: Hdu, section: Any = ()) -> tuple[Column, NDArray[Any]]:
    """Unpack a section of an image, as numpy indexes, by the tiles that it crosses: not scaled, big-endian.

    The column describes all the values of the section, which are in memory.
    """
    from astropy.io import fits

    stream = io.BufferedReader(source, 1 << 15)
    try:
        # unscaled: scaling and blanks are applied as for any column
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = fits.open(stream, memmap=False, do_not_scale_image_data=True)
            data = np.atleast_1d(opened[hdu.index].section[section])
            opened.close(closed=False)
    except MapError:
        raise
    except Exception as error:  # the codecs of astropy raise anything
        raise hdu.context.error(f"its tiles do not unpack: {error}", "the file may be damaged") from error
    finally:
        stream.detach()  # which would close the source
    raw = np.ascontiguousarray(data).astype(data.dtype.newbyteorder(">"))
    column = replace(
        image_column(source, hdu),
        dtype=raw.dtype.str.replace("|", ">"),
        source=Memory(raw.reshape(-1).view("u1").data, source.context),
        start=0,
        row_bytes=raw.itemsize,
        count=raw.size,
    )
    return column, raw
