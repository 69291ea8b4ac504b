"""FITS headers: where each HDU and its data are, read once for a file and kept while the file does not change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .place import BadCopy, Place
from .source import ByteSource

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["Hdu", "hdus", "to_astropy"]

BLOCK = 2880
CARD = 80
# most headers of maps end within this; it is also the first range asked of a server
FIRST = 4 * BLOCK
LONGEST = 4000 * BLOCK
# the standard's limit
MOST_AXES = 999

Value = str | int | float | bool | None


@dataclass(slots=True)
class Hdu:
    """One header-data unit.

    Parameters
    ----------
    index : int
        0 is the primary one.
    cards : dict
        Keyword to value; of repeated keywords the first counts. Commentary cards are not in it.
    text : bytes
        The header as it is in the file.
    data : int
        Offset of its data.
    size : int
        Length of its data without the padding.
    """

    index: int
    cards: dict[str, Value]
    text: bytes = field(repr=False)
    data: int
    size: int

    def __getitem__(self, key: str) -> Value:
        return self.cards.get(key)

    def number(self, key: str, default: int = 0) -> int:
        """Get an integer card; anything else counts as absent."""
        value = self.cards.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def word(self, key: str) -> str:
        """Get a text card stripped of blanks; empty if absent."""
        value = self.cards.get(key)
        return "" if value is None else str(value).strip()

    @property
    def kind(self) -> str:
        """``PRIMARY``, ``IMAGE``, ``BINTABLE``, ``TABLE`` or what XTENSION says."""
        return self.word("XTENSION") or "PRIMARY"

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes in numpy's order: the last one is contiguous."""
        return tuple(self.number(f"NAXIS{i}") for i in range(self.number("NAXIS"), 0, -1))


_kept: OrderedDict[tuple[object, ...], list[Hdu]] = OrderedDict()


def hdus(source: ByteSource) -> Iterator[Hdu]:
    """Walk through the HDUs of a file; headers are read only as far as the walk goes.

    Parameters
    ----------
    source : ByteSource
        The file.

    Yields
    ------
    Hdu
        In the order of the file.

    Raises
    ------
    MapError
        If the file is not FITS, or a header does not end.
    """
    known = _kept.setdefault(source.stamp, []) if source.stamp else []
    if source.stamp:
        _kept.move_to_end(source.stamp)
        while len(_kept) > 64:
            _kept.popitem(last=False)
    index = 0
    while True:
        if index == len(known):
            after = known[-1].data + _padded(known[-1].size) if known else 0
            if index and after >= source.size:
                return
            found = _read(source, index, after)
            if found is None:
                return
            if index == len(known):  # another thread may have been here
                known.append(found)
        yield known[index]
        index += 1


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _read(source: ByteSource, index: int, start: int) -> Hdu | None:
    place = source.place.in_hdu(index)
    text = source.read(start, FIRST)
    if index == 0 and not text.startswith(b"SIMPLE  ="):
        raise source.place.error(_not_fits(text), kind=BadCopy)
    if index and not text.startswith(b"XTENSION"):
        return None  # FITS allows special records after the last HDU
    end = -1
    while True:
        end = _end(text, max(0, end))
        if text[end : end + 3] == b"END":
            break
        more = source.read(start + len(text), max(FIRST, len(text)))
        if not more or len(text) > LONGEST:
            raise place.error("the file is truncated: its header has no END card", "fetch it again", BadCopy)
        text += more
    text = text[: end + CARD]
    cards = _cards(text)
    data = start + _padded(len(text))
    hdu = Hdu(index, cards, text, data, 0)
    _check_counts(hdu, place)
    axes = hdu.shape
    if any(n < 0 for n in axes) or hdu.number("BITPIX") not in (8, 16, 32, 64, -32, -64):
        raise place.error(f"BITPIX={hdu['BITPIX']!r} and NAXISn={axes[::-1]} do not describe any data")
    items = 1 if axes else 0
    for n in axes:
        items *= n
    hdu.size = abs(hdu.number("BITPIX")) // 8 * hdu.number("GCOUNT", 1) * (hdu.number("PCOUNT") + items)
    return hdu


def _check_counts(hdu: Hdu, place: Place) -> None:
    """Refuse what would have a reader count for ever, or come back to where it was."""
    for key in ("NAXIS", "ZNAXIS"):
        if not 0 <= hdu.number(key) <= MOST_AXES:
            raise place.error(f"{key}={hdu[key]} is not one of 0 to {MOST_AXES}", "the header may be damaged")
    for key, least in (("PCOUNT", 0), ("GCOUNT", 1)):
        if hdu.number(key, least) < least:
            raise place.error(f"{key}={hdu[key]} is less than {least}", "the header may be damaged")


def _not_fits(text: bytes) -> str:
    start = text[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "is not a FITS file but a web page"
    if start.startswith(b"version https://git-lfs"):
        return "is not a FITS file but a git-lfs pointer"
    if not text:
        return "is not a FITS file: it is empty"
    return f"is not a FITS file: it starts with {text[:16]!r}"


def _end(text: bytes, start: int) -> int:
    """Offset of the END card, or of where to go on looking once there is more text."""
    at = start
    while True:
        at = text.find(b"END     ", at)
        if at < 0:
            return len(text) // CARD * CARD
        if at % CARD == 0 and len(text) >= at + CARD:
            return at
        at += 1


def _cards(text: bytes) -> dict[str, Value]:
    lines = text.decode("latin-1")
    cards: dict[str, Value] = {}
    last = ""
    for at in range(0, len(lines), CARD):
        key = lines[at : at + 8].rstrip()
        if lines[at + 8 : at + 10] == "= ":
            last = key if key not in cards else ""
            cards.setdefault(key, _value(lines[at + 10 : at + CARD]))
        elif key == "CONTINUE" and last:
            before, more = cards[last], _value(lines[at + 8 : at + CARD])
            if isinstance(before, str) and before.endswith("&") and isinstance(more, str):
                cards[last] = before[:-1] + more
    return cards


def _value(field: str) -> Value:
    field = field.strip()
    if field.startswith("'"):
        text, at = "", 1
        while True:
            stop = field.find("'", at)
            if stop < 0:
                return text + field[at:]
            text += field[at:stop]
            if field[stop + 1 : stop + 2] != "'":
                return text.rstrip()
            text, at = text + "'", stop + 2
    field = field.partition("/")[0].strip()
    if field in ("T", "F"):
        return field == "T"
    for kind in (int, float):
        try:
            return kind(field if kind is int else field.upper().replace("D", "E"))
        except ValueError:
            pass
    return field or None


def to_astropy(hdu: Hdu) -> Header:
    """Make an astropy header of an HDU.

    Parameters
    ----------
    hdu : Hdu
        As `hdus` gives it.

    Returns
    -------
    astropy.io.fits.Header
        With comments and history.
    """
    from astropy.io.fits import Header

    return Header.fromstring(hdu.text)
