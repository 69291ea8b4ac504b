"""mypkg: an example of a package whose data come through dataferry."""

from .maps import DATA, load_bands, load_map

__all__ = ["DATA", "load_bands", "load_map"]
