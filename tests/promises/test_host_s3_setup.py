"""``dataferry host s3``: a bucket that everybody can read, and the policy of a key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from dataferry.errors import AccessDenied
from dataferry.hosts.s3_client import Bucket
from dataferry.publish import publish

pytestmark = pytest.mark.usefixtures("no_aws_keys")

MIB = 1 << 20
#: The parts of files that the fixture ``shop`` has dataferry make.
PART = 5 * MIB


class TestSetup:
    """`dataferry host s3`."""

    @pytest.fixture
    def spec(self, shop: Any) -> str:
        shop.sign_in(shop.radosgw.owner)
        shop.bucket = f"made-{os.urandom(4).hex()}"
        return str(shop.radosgw.spec(shop.bucket, "v1/"))

    def test_a_bucket_is_made_once_and_then_left(self, shop: Any, spec: str, command: Callable[..., Result]) -> None:
        words = ["host", "s3", "setup", shop.bucket, "--endpoint", shop.radosgw.url, "--prefix", "v1"]
        dry = command(*words, "--dry-run")
        assert dry.exit_code == 0 and "to do" in dry.stdout and "done" not in dry.stdout
        names = [item["Name"] for item in shop.radosgw.client().list_buckets()["Buckets"]]
        assert shop.bucket not in names
        made = command(*words)
        assert made.exit_code == 0, made.stderr
        assert made.stdout.splitlines()[-1] == f"declare it in dataferry.toml: {spec}"
        again = command("host", "s3", "setup", spec)
        assert [line.split("  ")[1] for line in again.stdout.splitlines()[:-1]] == ["already so"] * 6
        author = shop.author(shop.bucket, user=shop.radosgw.owner)
        author.publish({"a.dat": b"one"})
        author.publish({"a.dat": b"three"}, new_version=True)
        assert author.users_get(["a.dat"]) == {"a.dat": b"three"}

    def test_what_others_configured_stays(self, shop: Any, spec: str, command: Callable[..., Result]) -> None:
        client, ann = shop.radosgw.client(), shop.ann
        bucket = shop.radosgw.bucket(public=False, writers={ann: ("s3:PutObject",)})
        rule = {"ID": "mine", "AllowedMethods": ["PUT"], "AllowedOrigins": ["https://my.org"]}
        client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
        assert command("host", "s3", "setup", shop.radosgw.spec(bucket)).exit_code == 0
        statements = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        assert len(statements) == 2
        assert [r["ID"] for r in client.get_bucket_cors(Bucket=bucket)["CORSRules"]] == ["mine", "dataferry"]

    def test_the_policy_is_enough_to_publish(self, shop: Any, spec: str, command: Callable[..., Result]) -> None:
        assert command("host", "s3", "setup", spec).exit_code == 0
        policy = json.loads(command("host", "s3", "policy", spec, "--json").stdout)
        client = shop.radosgw.client()
        kept = json.loads(client.get_bucket_policy(Bucket=shop.bucket)["Policy"])
        for statement in policy["Statement"]:
            kept["Statement"].append(statement | {"Principal": {"AWS": [f"arn:aws:iam:::user/{shop.ann.name}"]}})
        client.put_bucket_policy(Bucket=shop.bucket, Policy=json.dumps(kept))
        author = shop.author(shop.bucket)
        files = {"small.dat": b"small", "large.bin": os.urandom(PART + MIB)}
        author.publish(files)
        author.publish(files | {"small.dat": b"smaller"}, new_version=True)
        assert author.users_get(["large.bin"]) == {"large.bin": files["large.bin"]}
        elsewhere = Bucket(shop.radosgw.spec(shop.bucket, "v2/"))
        with pytest.raises(AccessDenied, match="put"):
            publish(
                {"a.dat": __file__}, elsewhere_spec(elsewhere, author.spec), shop.folder / "v2.toml", progress=False
            )

    def test_the_commands_for_a_user_of_aws(self, command: Callable[..., Result]) -> None:
        told = command("host", "s3", "policy", "mypkg-data", "--region", "us-gov-west-1", "--prefix", "v1/").stdout
        assert '"arn:aws-us-gov:s3:::mypkg-data/v1/*"' in told
        assert "aws iam create-user --user-name dataferry-mypkg-data" in told
        assert "Delete" not in told

    def test_the_policy_for_another_store(self, command: Callable[..., Result]) -> None:
        said = command("host", "s3", "policy", "b", "--endpoint", "https://s3.example.org").stdout
        assert '"arn:aws:s3:::b/*"' in said
        assert said.endswith("at https://s3.example.org; the manual of the store explains how.\n")

    def test_without_a_key_or_with_an_odd_name(self, command: Callable[..., Result], shop: Any) -> None:
        assert "AWS_PROFILE" in command("host", "s3", "setup", "mypkg-data", "--region", "us-west-2").stderr
        assert command("host", "s3", "policy", "My Bucket").exit_code == 2


def elsewhere_spec(place: Any, spec: str) -> str:
    return spec.replace("/v1/", f"/{place.prefix}")
