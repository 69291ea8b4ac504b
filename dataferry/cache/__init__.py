"""The cache on this machine: astropy's entries, readable paths, stamps."""
