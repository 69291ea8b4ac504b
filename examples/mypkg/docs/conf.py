"""How the documentation is built: ``tox -e build_docs``."""

from importlib import metadata

from sphinx_astropy.conf.v2 import *  # noqa: F403

project = "mypkg"
author = "dataferry developers"
release = version = metadata.version("mypkg")
