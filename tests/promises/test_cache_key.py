"""``dataferry cache key``: it changes with the registered files, and with nothing else."""

from __future__ import annotations

import json


def key(suite, *args, code=0):
    done = suite.python("dataferry", "cache", "key", *args)
    assert done.returncode == code, done.stderr
    return done.stdout.strip() or done.stderr


def test_it_follows_the_registry(suite):
    first = key(suite, "mypkg")
    assert first.startswith("dataferry-1-") and key(suite, "mypkg") == first
    suite.declare(suite.files, head="timeout = 5")
    assert key(suite, "mypkg") == first
    suite.declare(dict(reversed(suite.files.items())))
    assert key(suite, "mypkg") == first
    suite.declare({**suite.files, "maps/a.dat": b"new"})
    assert key(suite, "mypkg") != first


def test_of_the_selected_tests_only(suite):
    suite.write(
        "test_it.py",
        """
        import pytest
        @pytest.mark.package_data("maps/a.dat")
        def test_first(): pass
        @pytest.mark.package_data("maps/[bc].dat")
        def test_second(): pass
        """,
    )
    some = json.loads(key(suite, "--json", "--pytest", "-k 'first or nothing'"))
    assert (some["packages"], some["files"], some["bytes"]) == (["mypkg"], 1, 1000)
    assert json.loads(key(suite, "--json", "--pytest", ""))["files"] == 3
    before = key(suite, "--pytest", "-k first")
    suite.declare({**suite.files, "maps/c.dat": b"new"})
    assert key(suite, "--pytest", "-k first") == before
    assert suite.server.requests == []


def test_errors_name_what_is_wrong(suite):
    assert "give a package" in key(suite, code=2)
    assert "no package" in key(suite, "not_there", code=4)
    suite.write("test_it.py", "1/0")
    assert "ZeroDivisionError" in key(suite, "--pytest", "", code=2)
