"""The checksums of the FITS standard (its appendix J): DATASUM and CHECKSUM."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["add_words", "with_checksum"]

_EXCLUDED = (*range(0x3A, 0x41), *range(0x5B, 0x61))
_ZERO = "0" * 16


def add_words(total: int, data: bytes) -> int:
    """Add the 32-bit words of a block to a sum, in ones' complement.

    Parameters
    ----------
    total : int
        The sum so far.
    data : bytes
        The block; zeros complete its last word.

    Returns
    -------
    int
        The new sum, below 2**32.
    """
    import numpy as np

    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4")
    total += int(words.sum(dtype="u8"))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def with_checksum(header: Header, data_sum: int) -> bytes:
    """Write out a header with DATASUM and CHECKSUM of it and its data.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Without the two cards; it gets them.
    data_sum : int
        The sum of the data's words.

    Returns
    -------
    bytes
        The header in whole blocks.
    """
    header["DATASUM"] = (str(data_sum), "data unit checksum")
    header["CHECKSUM"] = (_ZERO, "HDU checksum")
    total = add_words(data_sum, header.tostring().encode("ascii"))
    header["CHECKSUM"] = (_encode(0xFFFFFFFF - total), "HDU checksum")
    text: str = header.tostring()
    return text.encode("ascii")


def _encode(value: int) -> str:
    """Sixteen letters and digits that add to a header whose sum is complemented by the value."""
    columns = []
    for byte in value.to_bytes(4, "big"):
        quotient, remainder = divmod(byte, 4)
        letters = [quotient + 0x30 + (remainder if k == 0 else 0) for k in range(4)]
        # pairs are moved apart until none is punctuation: their sum stays
        while any(letter in _EXCLUDED for letter in letters):
            for k in (0, 2):
                if letters[k] in _EXCLUDED or letters[k + 1] in _EXCLUDED:
                    letters[k] += 1
                    letters[k + 1] -= 1
        columns.append(letters)
    text = "".join(chr(columns[byte][k]) for k in range(4) for byte in range(4))
    # the value of the card starts one byte after a word boundary
    return text[-1] + text[:-1]
