"""``dataferry doctor``."""

from __future__ import annotations

from typing import Any

import click

from . import command as shared
from .complete import complete_package
from .outcome import DECLARED, MACHINE

__all__ = ["command"]


@click.command("doctor", cls=shared.Command)
@click.argument("package", required=False, shell_complete=complete_package)
@shared.from_registry
@shared.as_json
def command(package: str | None, registry: str | None, as_json: bool) -> None:
    """Show what dataferry finds on this machine.

    Caches, offline state, proxies, kinds of hosts and what they lack, where tokens are (never the tokens themselves),
    configuration, site and extras; with PACKAGE also its registry, hosts and folders. Asks no host.
    Exit code 4 if the configuration cannot be used, 5 if no cache can be written.
    """
    from .findings import find_all

    found = find_all(package, registry)
    if as_json:
        shared.print_json(found)
    else:
        _show(found)
    codes = {"configuration": DECLARED, "package": DECLARED, "cache": MACHINE}
    code = next((codes[p["about"]] for p in found["problems"] if p["about"] in codes), 0)
    click.get_current_context().exit(code)


def _show(found: dict[str, Any]) -> None:
    versions = found["versions"]
    _title(f"dataferry {versions['dataferry']}")
    _line("with", ", ".join(f"{name} {number}" for name, number in versions.items() if name != "dataferry"))
    _line("extras", "; ".join(_extra(name, lacking) for name, lacking in found["extras"].items()))
    _title("Caches")
    for cache in found["caches"]:
        state = "writable" if cache["writable"] else click.style("cannot be written", fg="yellow")
        free = f", {shared.size_text(cache['free'])} free" if cache["free"] is not None else ""
        _line(cache["role"], f"{cache['path']} ({state}{free})")
    _title("Network")
    _line("offline", found["offline"] or "no")
    for name, value in found["proxies"].items():
        _line("proxy", f"{name}={value}")
    if not found["proxies"]:
        _line("proxy", "none")
    _show_hosts(found)
    _title("Configuration")
    for file in found["config_files"]:
        _line("file", f"{file['path']} ({'read' if file['read'] else 'not there'})")
    for name, value in found["environment"].items():
        _line("variable", f"{name}={value}")
    _line("site", ", ".join(found["sites"]) or "none recognised")
    if found["package"]:
        _show_package(found["package"])
    for problem in found["problems"]:
        click.echo(f"\n{click.style('problem:', fg='red', bold=True)} {problem['text']}")


def _show_hosts(found: dict[str, Any]) -> None:
    from ..config.settings import Settings
    from .host_states import by_reason, providers

    variables = {status.provider: status.variable for status in providers(Settings(anonymous=True))}

    _title("Hosts")
    _line("usable", ", ".join(scheme for scheme in found["hosts"] if scheme not in found["lacking"]))
    for reason, schemes in by_reason(found["lacking"]).items():
        _line("lacking", f"{', '.join(schemes)}: {click.style(reason, fg='yellow')}")
    for provider, origin in found["tokens"].items():
        _line("token", f"{provider}: {origin or f'none found (the variable {variables[provider]} for one)'}")


def _show_package(package: dict[str, Any]) -> None:
    _title(f"Package {package['name']}")
    _line("registry", package["registry"])
    _line("files", f"{package['files']}, {shared.size_text(package['bytes'])}")
    for label, value in (("dataurl", package["dataurl"]), ("variable", package["env"])):
        if value:
            _line(label, value)
    for mirror in package["mirrors"]:
        where = package["tokens"].get(mirror)
        told = "" if where is None else f" (to publish: {where or 'no token found'})"
        _line("mirror", f"{mirror}{told}")
    for folder in package["folders"]:
        answer = click.style(folder["problem"], fg="yellow") if folder["problem"] else "there"
        _line("folder", f"{folder['path']} ({answer}; {folder['origin']})")


def _title(text: str) -> None:
    click.secho(text, bold=True)


def _line(label: str, text: str) -> None:
    click.echo(f"  {label:<9} {text}")


def _extra(name: str, lacking: list[str]) -> str:
    return f"[{name}] lacks {', '.join(lacking)}" if lacking else f"[{name}] installed"
