"""Errors travel: they are pickled, copied, and divided by ``except*``."""

from __future__ import annotations

import copy
import pickle

import pytest

from dataferry import errors


class OwnError(errors.TransferError):
    """Of another package's host, with arguments of its own."""

    def __init__(self, status: int) -> None:
        super().__init__("own:", f"answered {status}", kind="a word of its own", retry_after=2.0, final=True)
        self.status = status


MISSING = errors.FileUnavailable(
    "a.fits", [("folder /data", "not there"), ("https://x/", "HTTP 404")], "ask its author"
)
OFFLINE = errors.Offline("b.fits", [("network", "offline")])
FETCH = errors.FetchErrors("2 of 3 files", [MISSING, OFFLINE])
FETCH.paths["c.fits"] = "/cache/c.fits"
ERRORS = [
    MISSING,
    OFFLINE,
    FETCH,
    errors.UnknownFile("a.fits", "dataferry.toml", ["b.fits"]),
    errors.ArchiveError("a.zip", "is damaged", "get it again"),
    errors.MissingExtra("maps", "h5py"),
    errors.TransferError("https://x/", "reset", kind="cut", retry_after=3.0, sha256="ab"),
    errors.HostRefused("GET https://x/", 503, "busy", 2.0),
    errors.AccessDenied("s3://x/", "no key", "make one"),
    errors.PublishErrors("nothing was uploaded", [errors.Conflict("s3://x/a", "other bytes")]),
    errors.CacheError("full"),
    OwnError(507),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_arrives_in_another_process_as_it_was(error):
    error.add_note("seen by a test")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        facts = {key: value for key, value in vars(error).items() if key != "exceptions"}
        assert {key: vars(again)[key] for key in facts} == facts
        assert getattr(again, "name", None) == getattr(error, "name", None)


def test_a_part_of_several_errors_is_an_error_of_dataferry_too():
    parts = []
    try:
        raise FETCH
    except* errors.Offline as part:
        parts.append(part)
    except* errors.FileUnavailable as part:
        parts.append(part)
    assert [type(part) for part in parts] == [errors.FetchErrors] * 2
    assert [part.exceptions for part in parts] == [(OFFLINE,), (MISSING,)]


def test_a_word_that_dataferry_does_not_know_is_an_error_like_any_other():
    assert OwnError(507).kind == errors.Reason.ERROR
