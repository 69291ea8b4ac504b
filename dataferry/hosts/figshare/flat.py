"""Names as an article holds them: one flat list of plain file names, each of which leads back to the name."""

from __future__ import annotations

import re

__all__ = ["LONGEST", "flat_name", "full_name"]

#: Bytes of a file name at Figshare; file systems of those who download by hand take no more either.
LONGEST = 255

_ODD = re.compile(r"[^A-Za-z0-9._+@,() -]")
_ESCAPED = re.compile(r"((?:=[0-9A-F]{2})+)")


def flat_name(name: str) -> str:
    """The file name for a name; pure, and no two names share one.

    Parameters
    ----------
    name : str
        The name, ``maps/dust 064.fits``.

    Returns
    -------
    str
        ``maps=2Fdust 064.fits``: what is not a plain character stands as its bytes, as in a quoted-printable mail.
    """
    flat = _ODD.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), name)
    return f"=2E{flat[1:]}" if flat.startswith(".") else flat


def full_name(stored: str, folder: str = "") -> str:
    """The name that a file of an article has here.

    Parameters
    ----------
    stored : str
        Its file name there.
    folder : str
        Its folder, where the article was uploaded with folders.

    Returns
    -------
    str
        What `flat_name` was made from; a file name that it did not make stays as it is.
    """
    name = stored
    if "=" in stored:
        try:
            parts = _ESCAPED.split(stored)
            name = "".join(bytes.fromhex(p.replace("=", "")).decode() if p.startswith("=") else p for p in parts)
        except ValueError:
            name = stored
        if flat_name(name) != stored:
            name = stored
    inner = folder.strip("/")
    return f"{inner}/{name}" if inner else name
