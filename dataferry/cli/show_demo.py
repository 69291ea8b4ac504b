"""``dataferry demo``."""

from __future__ import annotations

import os
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import command as shared
from . import demo_stage as on

if TYPE_CHECKING:
    from ..lookup.report import Step, Where
    from ..package_data import PackageData

__all__ = ["command"]

PICTURE = "dataferry-demo.png"
_WIDTH = 80
_AFTER = """\
  1. One call: the nearest place answers, and what is here needs no network.
  2. A file has the size and sha256 that its author registered, or is refused.
  3. A host that fails is passed over for the next one.
  4. The cache is astropy's own: each finds what the other brought.
  5. An error names every place, why it did not do, and what helps.
  6. What an author publishes is fetched back before it is registered."""
_NEXT = (
    ("dataferry add mypkg FILES...", "register the files of your own package"),
    ("dataferry publish FILES --to HOST", "take them to a host, and prove it"),
    ("dataferry where PACKAGE NAME", "see every step for one file"),
    ("dataferry doctor", "see what is found on this machine"),
)


@click.command("demo", cls=shared.Command)
def command() -> None:
    """See it work, without internet.

    Real files and two web servers on this machine: a file comes from each kind of place, a wrong one is refused.

    Writes one picture, dataferry-demo.png, into the current directory. Needs healpy and matplotlib:
    pip install 'dataferry[demo]'.
    """
    from ..package_data import PackageData

    began = time.perf_counter()
    if not os.access(".", os.W_OK):
        from ..errors import CacheError

        raise CacheError(f"the current directory cannot be written, and the demo leaves {PICTURE} in it")
    with on.set_stage() as stage:
        with on.own_home(stage):
            _open(stage)
            data = PackageData(on.PACKAGE, show_progress=False)
            _get(1, "package", data, on.BUNDLED)
            _get(2, "shared folder", data, on.IN_FOLDER)
            _from_the_cache(data, stage)
            sky_map = _from_the_primary(data, stage)
            _from_the_mirror(data, stage)
            _tampered(data, stage)
            _publish(stage)
        _draw(sky_map)
    _close(time.perf_counter() - began)


def _open(stage: on.Stage) -> None:
    click.secho("dataferry demo: real FITS files, two web servers on this machine, no internet", bold=True)
    click.echo("\nThe author of mypkg wrote mypkg/data/dataferry.toml, with `dataferry add`:")
    _code(f'dataurl = "{stage.primary.url}"', "the primary host")
    _code(f'mirrors = ["{stage.mirror.url}"]', "has the same files")
    _code('folders = { any = ".../project/mypkg-data" }', "many may share it")
    _code(f'[files."{on.SKY_MAP}"]', "size and sha256 of each file")
    click.echo("A user of mypkg writes:")
    _code('data = dataferry.PackageData("mypkg")')
    _code(f'path = data.get("{on.SKY_MAP}")', "verified, on this machine")
    click.echo("\nWhere files come from, nearest place first, and how long `get` took:")


def _get(number: int, place: str, data: PackageData, name: str) -> str:
    entry, said = data.registry.find(name), data.where(name)
    started = time.perf_counter()
    path = data.get(name)
    took = _time(time.perf_counter() - started)
    title = f"  {number}  {place}: {name}, {shared.size_text(entry.size if entry else None)}"
    click.echo(click.style(title, bold=True) + took.rjust(_WIDTH - len(title)))
    click.echo(f"     where: {_compact(said)}")
    return path


def _compact(said: Where) -> str:
    """What `where` says in one line: up to the place that has the file, or up to the hosts."""
    steps = said.steps
    found = next((i for i, step in enumerate(steps) if step.found), len(steps) - 1)
    words = []
    for note, group in groupby(steps[: found + 1], key=lambda step: step.note):
        same = list(group)
        color = {"fg": "green", "bold": True} if same[-1].found else {}
        words.append(click.style(f"{', '.join(map(_role, same))}: {note}", **color))  # type: ignore[arg-type]
    return " > ".join(words)


def _role(step: Step) -> str:
    return {"dataurl": "primary", "mirror": "mirror"}.get(step.origin, step.kind)


def _from_the_cache(data: PackageData, stage: on.Stage) -> None:
    import logging

    from ..plain import get_data_filename

    logger = logging.getLogger("dataferry")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it would say which place answered
    get_data_filename(on.CACHED, package=on.PACKAGE, dataurl=stage.primary.url, show_progress=False)
    logger.setLevel(level)
    _get(3, "cache, filled by plain astropy", data, on.CACHED)


def _from_the_primary(data: PackageData, stage: on.Stage) -> str:
    stage.primary.forget()
    path = _get(4, "primary host", data, on.SKY_MAP)
    _say_who_gave(stage)
    started = time.perf_counter()
    data.get(on.SKY_MAP)
    click.echo(
        "     a second get finds it in the cache, verified".ljust(_WIDTH - 8)
        + _time(time.perf_counter() - started).rjust(8)
    )
    return path


def _from_the_mirror(data: PackageData, stage: on.Stage) -> None:
    stage.primary.forget()
    stage.primary.stop()
    _get(5, "mirror, the primary being down", data, on.SPARE)
    _say_who_gave(stage)
    stage.primary.start()


def _say_who_gave(stage: on.Stage) -> None:
    """What the servers' own logs say."""
    words = []
    for role, server in (("primary", stage.primary), ("mirror", stage.mirror)):
        sent = sum(request.sent for request in server.requests)
        if sent:
            words.append(click.style(f"{role}: gave {shared.size_text(sent)}, verified", fg="green", bold=True))
        elif role == "primary":
            words.append("primary: no connection")
    click.echo(f"     then:  {' > '.join(words)}")


def _tampered(data: PackageData, stage: on.Stage) -> None:
    from ..errors import FileUnavailable
    from ..testing import FlippedByte

    for server in (stage.primary, stage.mirror):
        server.fault(on.TAMPERED, FlippedByte(5000))
    click.secho(f"  6  refused: {on.TAMPERED}, both servers having one wrong byte in it", bold=True)
    try:
        data.get(on.TAMPERED)
    except FileUnavailable as error:
        text = str(error)
        for folder, short in ((stage.root / "home", "~"), (stage.registry.parents[2], "..."), (stage.root, "...")):
            text = text.replace(str(folder), short)
        for line in text.splitlines():
            indent = " " * (7 + len(line) - len(line.lstrip()))
            click.secho(click.wrap_text(line.strip(), _WIDTH, indent[2:], indent + "    "), fg="red")
    else:
        raise click.ClickException("a file with a wrong byte was not refused; please report this")


def _publish(stage: on.Stage) -> None:
    """An author takes a file to a host, and a user has it."""
    from ..package_data import PackageData
    from ..publish import publish

    stage.primary.heal()
    stage.primary.forget()
    started = time.perf_counter()
    outcome = publish(
        {on.NEW: stage.new}, f"folder:{stage.served}?url={stage.primary.url}", stage.registry, progress=False
    )
    took = _time(time.perf_counter() - started)
    if not all(file.proven for file in outcome.files):
        raise click.ClickException("a published file did not come back; please report this")
    title = f"  7  published: {on.NEW}, {shared.size_text(stage.new.stat().st_size)}"
    click.echo(click.style(title, bold=True) + took.rjust(_WIDTH - len(title)))
    said = "copied to the primary > fetched back as a stranger, verified > registered"
    click.echo(f"     {said}")
    data = PackageData(on.PACKAGE, show_progress=False)
    started = time.perf_counter()
    data.get(on.NEW)
    click.echo("     a user's get".ljust(_WIDTH - 8) + _time(time.perf_counter() - started).rjust(8))


def _draw(sky_map: str) -> None:
    from .. import maps

    maps.show(sky_map, PICTURE)
    click.secho(f"  8  drawn: {on.SKY_MAP}, in {Path(PICTURE).resolve()}", bold=True)
    click.echo("     (a random sky of healpy.synfast; the others are astropy's and healpy's)")


def _close(seconds: float) -> None:
    click.secho(f"\nThat was, in {seconds:.0f} s:", bold=True)
    click.echo(_AFTER)
    click.secho("Try next:", bold=True)
    for line, remark in _NEXT:
        click.echo(f"  {click.style(f'{line:<34}', fg='cyan')} {remark}")


def _code(text: str, remark: str = "") -> None:
    click.echo("    " + click.style(f"{text:<45}" if remark else text, fg="cyan") + (f" # {remark}" if remark else ""))


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
