"""Real servers and proxies on loopback as fixtures; each is a factory that starts one, and all end with the module.

==================== ===============================================================================================
fixture              call
==================== ===============================================================================================
``nginx``            ``nginx(folder, limit_rate="", autoindex="", basic=None, tls=False, http2=False, extra="")``
``apache``           ``apache(folder)``
``caddy``            ``caddy(folder)``
``lighttpd``         ``lighttpd(folder)``
``python_http``      ``python_http(folder)``: HTTP/1.0, no ranges, no ETag
``tinyproxy``        ``tinyproxy(login=None)``
``squid``            ``squid(login=None)``: CONNECT to any port
``delay_proxy``      ``delay_proxy(url, delay=0.04)``: a TCP link with a round trip of that many seconds
``counted_link``     ``counted_link(url)``: a TCP link that counts what is sent, and is cut after so many bytes
``sshd``             ``sshd.declared(folder)``: SFTP for this user; ``sshd.trust(home)``: his key, and its own
``azurite``          ``azurite.container(name, public=True)``: blobs of Azure
``dataverse``        a `Dataverse` that runs: datasets, drafts, versions, locks; plays faults
``depot``            ``with depot() as site``: the archive of docs/write_a_host.rst; ``depot_module``: its host
``figshare``         a `Figshare` that runs: accounts, articles, uploads in parts, downloads by redirect
``github``           GitHub's releases, with ``github.spec("v1")`` to read from and publish to
``invenio_standin``  an `InvenioStandIn` that runs: records, drafts, versions, files; plays faults
``inveniordm``       the real `InvenioRDM`, for tests marked nightly; ``url``, ``tokens``, ``lines()``
``quay``             ``quay("a")``: the host ``quay:a`` in this process; ``case.publish(files, "quay:a")`` to it
``rdm``              the stand-in, and nightly the real server in its place; ``ann`` makes records there by hand
``webdav``           ``with webdav() as dav``: nginx that takes PUT and MOVE, and the example host installed
``radosgw``          `Radosgw`, one for the whole run: ``radosgw.spec(radosgw.bucket())`` to read from and publish to
``shop``             a public bucket, its author and its users: ``shop.author().publish(files)``
``no_aws_keys``      an environment without keys for S3
``killer``           ``killer(args, env, cwd)``: a command that is killed when something is seen, and run again
``git_http``         ``git_http(folder, tokens={"t0ken": "write"}, private=False)``: git over HTTP with logins
``giftless``         ``giftless(store, private=False)``: a git-lfs server; ``lfs_token(scope)`` makes a token
``pages``            ``pages(repository, branch, site)``: each push becomes a site, as on GitHub Pages
``mark_link``        ``mark_link(port)``: a TCP link that is cut for good once certain bytes go through it
``suite``            ``suite.write(name, text)``, ``suite.run(*args)``: a package with data, tested by pytest
``tls_ca``           the `dataferry.testing.CertificateAuthority` of ``nginx(tls=True)``
==================== ===============================================================================================

What a call gives has ``url`` (a slash at the end), ``port``, ``log`` (the path of its access log) and ``stop()``.
"""

from __future__ import annotations

from .counted_link import counted_link
from .dataverse import dataverse
from .depot import depot, depot_module
from .figshare import figshare
from .git_hosts import giftless, giftless_python, git_http, lfs_token, pages
from .github import github
from .invenio_standin import invenio_standin
from .inveniordm import inveniordm
from .inveniordm.people import ann, rdm
from .kills import killer
from .mark_link import mark_link
from .proxies import delay_proxy, squid, tinyproxy
from .quay import case, quay
from .radosgw import radosgw
from .running import running
from .s3_shop import no_aws_keys, shop
from .stores import azurite, sshd
from .suite import forks, suite
from .web import apache, caddy, lighttpd, nginx, python_http, tls_ca
from .webdav import webdav, webdav_installed, webdav_module

__all__ = [
    "ann",
    "apache",
    "azurite",
    "caddy",
    "case",
    "counted_link",
    "dataverse",
    "delay_proxy",
    "depot",
    "depot_module",
    "figshare",
    "forks",
    "giftless",
    "giftless_python",
    "git_http",
    "github",
    "invenio_standin",
    "inveniordm",
    "killer",
    "lfs_token",
    "lighttpd",
    "mark_link",
    "nginx",
    "no_aws_keys",
    "pages",
    "python_http",
    "quay",
    "radosgw",
    "rdm",
    "running",
    "shop",
    "squid",
    "sshd",
    "suite",
    "tinyproxy",
    "tls_ca",
    "webdav",
    "webdav_installed",
    "webdav_module",
]
