"""Which library of Python speaks a protocol, and whether it is there."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["LIBRARY", "lacking"]

#: Protocol -> module and package beside fsspec; those in the extra have no package of their own here.
LIBRARY = {
    "abfs": ("adlfs", "adlfs"),
    "abfss": ("adlfs", "adlfs"),
    "az": ("adlfs", "adlfs"),
    "gcs": ("gcsfs", "gcsfs"),
    "gs": ("gcsfs", "gcsfs"),
    "hf": ("huggingface_hub", "huggingface_hub"),
    "sftp": ("paramiko", ""),
    "smb": ("smbprotocol", "smbprotocol"),
    "ssh": ("paramiko", ""),
}


def lacking(protocol: str) -> tuple[str, str]:
    """What has to be installed for a protocol; nothing is imported for that.

    Parameters
    ----------
    protocol : str
        ``gs``.

    Returns
    -------
    module, package : str
        What is missing, and the package that has to be named beside dataferry's extra; both empty if nothing is.
    """
    module, package = LIBRARY.get(protocol, ("fsspec", ""))
    for name in dict.fromkeys(("fsspec", module)):
        if find_spec(name) is None:
            return name, package
    return "", ""
