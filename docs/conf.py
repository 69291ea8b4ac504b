"""How the documentation is built: `tox -e build_docs`."""

import builtins
import os
from importlib import metadata

from sphinx.domains.std import StandardDomain
from sphinx_astropy.conf.v2 import *  # noqa: F403
from sphinx_astropy.conf.v2 import exclude_patterns, extensions, intersphinx_mapping

from dataferry import errors

project = "dataferry"
author = "dataferry developers"
copyright = f"2026, {author}"
release = metadata.version("dataferry")
version = release.partition("+")[0]

extensions = [*extensions, "sphinx_click"]
exclude_patterns = [*exclude_patterns, "changes/*"]
suppress_warnings = ["app.add_directive"]

# `sphinx-build -b man`: the page on the command line, with every command, becomes dataferry(1)
man_pages = [("commands", "dataferry", "data files of scientific Python packages", [author], 1)]

html_title = f"dataferry {version}"
html_theme_options = {
    "header_links_before_dropdown": 5,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_nav_level": 2,
    "show_prev_next": True,
    "show_toc_level": 2,
}
html_sidebars = {"index": [], "search": []}
html_static_path = ["_static"]
html_css_files = ["dataferry.css"]
highlight_language = "none"
# the examples of the command line hold "--"
smartquotes = False

# "get()" and not "PackageData.get()" in the narrow list of a page's contents
toc_object_entries_show_parents = "hide"

# signatures carry the types; the pages of functions need no list of the members' types again
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
autoclass_content = "class"
numpydoc_xref_param_type = False
numpydoc_show_class_members = False

# The build uses no network by default.
if not os.environ.get("DATAFERRY_INTERSPHINX"):
    intersphinx_mapping = {}

nitpicky = True
# without the inventories of others their names cannot be looked up; our own must all resolve
_others = ["astropy", "builtins", "click", "collections", "contextlib", "hashlib", "numpy", "os", "pathlib", "pooch"]
_others += ["pytest", "enum", "ssl", "threading", "typing", "urllib", "urllib3", "logging", "tempfile", "concurrent"]
nitpick_ignore_regex = [(r"py:.*", rf"({'|'.join([*_others, *dir(builtins)])})(\..*)?")]


class _Domain(StandardDomain):
    """Leave options out of the search: it should find pages and functions, and not ``-h`` of thirty commands."""

    def get_objects(self):
        """All objects; a priority below zero hides one from the search."""
        for *known, priority in super().get_objects():
            yield (*known, -1 if known[2] == "cmdoption" else priority)


def _short_name(app, env, node, contnode):
    """Let `UnknownFile` in a docstring mean `dataferry.errors.UnknownFile`."""
    name = node["reftarget"].rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in errors.__all__:
        return None
    target = f"dataferry.errors.{name}"
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contnode)


def setup(app):
    """Connect what Sphinx calls during the build."""
    app.add_domain(_Domain, override=True)
    app.connect("missing-reference", _short_name)
