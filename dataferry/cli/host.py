"""``dataferry host``."""

from __future__ import annotations

from urllib.parse import urlencode

import click

from . import options
from .output import echo, note, print_json, style


@click.group("host", cls=options.Group)
def command() -> None:
    """List the kinds of hosts, and set some of them up."""


@command.command("list", cls=options.Command)
@options.as_json
def list_hosts(as_json: bool) -> None:
    """List the installed kinds of hosts and what each can do."""
    from ..hosts import host_kind, host_names
    from ..hosts.base import Host
    from .doctor import by_reason, missing_libraries

    missing = missing_libraries()
    schemes: dict[type[Host], list[str]] = {}
    for scheme in host_names():
        schemes.setdefault(host_kind(scheme), []).append(scheme)
    kinds = [
        {
            "schemes": several,
            "class": f"{kind.__module__}.{kind.__qualname__}",
            "about": next(iter((kind.__doc__ or "").strip().splitlines()), ""),
            "publishes": kind.publisher is not Host.publisher,
            "lists": kind.hosted is not Host.hosted,
            "lacking": {scheme: missing[scheme] for scheme in several if scheme in missing},
        }
        for kind, several in schemes.items()
    ]
    if as_json:
        print_json({"hosts": kinds})
        return
    width = max(len(", ".join(several)) for several in schemes.values())
    echo(style(f"{'SCHEME':<{width}}  {'READS':<6} {'LISTS':<6} {'PUBLISHES':<10} ABOUT", bold=True))
    for kind, several in zip(kinds, schemes.values(), strict=True):
        can = ["yes" if kind[word] else "-" for word in ("lists", "publishes")]
        echo(f"{', '.join(several):<{width}}  {'yes':<6} {can[0]:<6} {can[1]:<10} {kind['about']}")
    for reason, lacking in by_reason(missing).items():
        echo(f"{', '.join(lacking)}: lacking {reason}", err=True)


@command.group("s3", cls=options.Group)
def s3() -> None:
    """Create and describe buckets of Amazon S3 and compatible stores."""


def _bucket_options(function: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--prefix", default="", metavar="FOLDER/", help="Only this part of the bucket."),
        click.option("--endpoint", default="", metavar="URL", help="The store, if it is not AWS."),
        click.option("--region", default="", metavar="NAME", help="The region of the bucket, such as us-west-2."),
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


@s3.command("setup", cls=options.Command)
@_bucket_options
@options.dry_run("Show what would be done, and change nothing.")
def setup(bucket: str, region: str, endpoint: str, prefix: str, dry_run: bool) -> None:
    """Create a public bucket that keeps old versions.

    Everybody can read it. BUCKET is a name, or the whole s3://bucket/prefix/?region=... as in dataferry.toml. You
    can run it again: it changes only what is missing, and keeps other rules of the bucket. It needs the owner's
    key, for example from AWS_PROFILE.
    """
    from ..config.settings import load_settings
    from ..errors import AccessDenied
    from ..hosts.s3_client import SIGN_IN, Bucket, S3Client
    from ..hosts.s3_setup import set_up

    spec = _spec(bucket, region, endpoint, prefix)
    client = S3Client(Bucket(spec), load_settings())
    if client.credentials is None:
        raise AccessDenied(spec, "no access key was found", SIGN_IN)
    note(f"with {client.who}")
    for text, state in set_up(client, dry=dry_run):
        echo(f"  {state:<22} {text}")
    echo(f"declare it in dataferry.toml: {spec}")
    note(f"rights to publish there: dataferry host s3 policy '{spec}'")


@s3.command("policy", cls=options.Command)
@_bucket_options
@options.as_json
def policy(bucket: str, region: str, endpoint: str, prefix: str, as_json: bool) -> None:
    """Print the policy for publishing to a bucket.

    Also prints the commands that create an AWS user with this policy; --json prints only the policy. BUCKET is a name,
    or the whole s3://bucket/prefix/?region=... as in dataferry.toml.
    """
    from ..hosts.s3_client import Bucket
    from ..hosts.s3_setup import upload_policy, user_commands

    spec = _spec(bucket, region, endpoint, prefix)
    parsed = Bucket(spec)
    print_json(upload_policy(parsed))
    if as_json:
        return
    echo("")
    if parsed.endpoint:
        echo(f"Give this policy to the user at {parsed.endpoint}; the manual of the store explains how.")
        return
    for line in user_commands(parsed):
        echo(line)
