"""``dataferry host``."""

from __future__ import annotations

from urllib.parse import urlencode

import click

from . import command as shared

__all__ = ["command"]


@click.group("host")
def command() -> None:
    """Show the kinds of hosts, and set some of them up."""


@command.command("list", cls=shared.Command)
@shared.as_json
def list_hosts(as_json: bool) -> None:
    """List the kinds of hosts that are installed, and what each can do."""
    from ..hosts import host_kind, host_names
    from ..hosts.base import Host
    from .host_states import by_reason, lacking

    kinds: dict[str, dict[str, object]] = {}
    for scheme in host_names():
        kind = host_kind(scheme)
        key = f"{kind.__module__}.{kind.__qualname__}"
        told = kinds.setdefault(key, {"schemes": [], "class": key})
        told["schemes"] = [*_listed(told["schemes"]), scheme]
        told["about"] = next(iter((kind.__doc__ or "").strip().splitlines()), "")
        told["publishes"] = kind.publisher is not Host.publisher
        told["lists"] = kind.hosted is not Host.hosted
    lacks = lacking()
    for told in kinds.values():
        told["lacking"] = {scheme: lacks[scheme] for scheme in _listed(told["schemes"]) if scheme in lacks}
    if as_json:
        shared.print_json({"hosts": list(kinds.values())})
        return
    width = max(len(", ".join(_listed(told["schemes"]))) for told in kinds.values())
    click.secho(f"{'SCHEME':<{width}}  {'READS':<6} {'LISTS':<6} {'PUBLISHES':<10} ABOUT", bold=True)
    for told in kinds.values():
        can = [("yes" if told[word] else "-") for word in ("lists", "publishes")]
        schemes = ", ".join(_listed(told["schemes"]))
        click.echo(f"{schemes:<{width}}  {'yes':<6} {can[0]:<6} {can[1]:<10} {told['about']}")
    for reason, lacking_it in by_reason(lacks).items():
        click.echo(f"{', '.join(lacking_it)}: lacking {reason}", err=True)


def _listed(value: object) -> list[str]:
    return list(value) if isinstance(value, list) else []


@command.group("s3")
def s3() -> None:
    """Buckets of Amazon S3 and of stores that speak its language."""


def _place_options(function: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--prefix", default="", metavar="FOLDER/", help="Only this part of the bucket."),
        click.option("--endpoint", default="", metavar="URL", help="The store, where it is not AWS."),
        click.option("--region", default="", metavar="NAME", help="Where the bucket is to be, us-west-2 for one."),
        click.argument("bucket", metavar="BUCKET"),
    ):
        function = option(function)
    return function


def _spec(bucket: str, region: str, endpoint: str, prefix: str) -> str:
    if bucket.startswith("s3://"):
        return bucket
    query = urlencode({word: value for word, value in (("region", region), ("endpoint", endpoint)) if value}, safe=":/")
    below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    return f"s3://{bucket}/{below}" + (f"?{query}" if query else "")


@s3.command("setup", cls=shared.Command)
@_place_options
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
def setup(bucket: str, region: str, endpoint: str, prefix: str, dry_run: bool) -> None:
    """Make a bucket that everybody can read and that keeps old versions.

    BUCKET is a name, or the whole s3://bucket/prefix/?region=... as in dataferry.toml. What is so already stays;
    other rules of the bucket stay as well. Needs a key of the owner, by AWS_PROFILE for one.
    """
    from ..config.settings import load_settings
    from ..errors import AccessDenied
    from ..hosts.s3.bucket import setup_steps
    from ..hosts.s3.place import parse_place
    from ..hosts.s3.refusals import SIGN_IN
    from ..hosts.s3.store import Store

    spec = _spec(bucket, region, endpoint, prefix)
    store = Store(parse_place(spec), spec, load_settings())
    if store.credentials is None:
        raise AccessDenied(spec, "no access key was found", SIGN_IN)
    click.echo(f"with {store.who}", err=True)
    bucket_to_come = False
    for number, step in enumerate(setup_steps(store)):
        with store.asking(step.text):
            told = "to do" if bucket_to_come else step.run(dry=dry_run)
        bucket_to_come = bucket_to_come or (number == 0 and told == "to do")
        click.echo(f"  {told:<22} {step.text}")
    click.echo(f"declare it in dataferry.toml: {spec}")
    click.echo(f"who may publish there: dataferry host s3 policy '{spec}'", err=True)


@s3.command("policy", cls=shared.Command)
@_place_options
@shared.as_json
def policy(bucket: str, region: str, endpoint: str, prefix: str, as_json: bool) -> None:
    """Print the rights that publishing to a bucket needs, and the commands that give them to a new user of AWS.

    BUCKET is a name, or the whole s3://bucket/prefix/?region=... as in dataferry.toml. With --json the policy alone.
    """
    from ..hosts.s3.bucket import upload_policy, user_commands
    from ..hosts.s3.place import parse_place

    spec = _spec(bucket, region, endpoint, prefix)
    place = parse_place(spec)
    shared.print_json(upload_policy(place))
    if as_json:
        return
    click.echo("")
    if place.endpoint:
        click.echo(f"Give this policy to the user at {place.endpoint}; how is in the manual of the store.")
        return
    for line in user_commands(place, spec):
        click.echo(line)
