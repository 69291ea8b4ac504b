"""Load the maps and tables of mypkg."""

import numpy as np

from dataferry import PackageData

__all__ = ["DATA", "load_bands", "load_map"]

#: The data files of this package. Nothing is read before the first use.
DATA = PackageData("mypkg")


def load_map(name="maps/dust_016.fits"):
    """Load a HEALPix map.

    Parameters
    ----------
    name : str
        A registered name; ``DATA.names("maps/*")`` lists them.

    Returns
    -------
    maps : `~astropy.units.Quantity`
        Of shape (fields, 12 nside**2), float32: I, Q and U.
    header : `~astropy.io.fits.Header`
        With ``NSIDE``, ``ORDERING`` and ``COORDSYS``.

    Raises
    ------
    dataferry.DataferryError
        If there is no such file, or it is not available.
    """
    from astropy import units as u
    from astropy.io import fits

    with fits.open(DATA.get(name)) as hdus:
        table = hdus[1]
        fields = [table.data[column].ravel() for column in table.columns.names]
        unit = u.Unit(table.columns[0].unit)
        return u.Quantity(np.array(fields, dtype=np.float32), unit), table.header.copy()


def load_bands():
    """Load the table of bands.

    Returns
    -------
    `~astropy.table.QTable`
        With the columns ``band``, ``center_frequency`` and ``fwhm``.
    """
    from astropy.table import QTable

    return QTable.read(DATA.get("bands.ecsv"))
