"""One file to the upload service: in the parts that it wants, from where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...download.backoff import tries
from ...errors import HostRefused, PublishError, TransferError
from ..api_client import ApiClient, FileBody

if TYPE_CHECKING:
    from ..base import Upload
    from .interface import Interface

__all__ = ["Gone", "send"]

#: Parts of one file on their way at the same time.
_AT_ONCE = 3
#: Seconds that a part may stay locked by an upload that was cut.
_LOCKED = 120.0
#: How often one part may fail.
_FAILURES = 5


class Gone(Exception):
    """The upload service has given this upload up: it has to be begun again."""


def send(interface: Interface, item: Mapping[str, Any], upload: Upload, moved: Callable[[int], None]) -> None:
    """Send what the upload service has not got yet.

    Parameters
    ----------
    interface : Interface
        Whose upload it is.
    item : mapping
        The file as the article lists it, with ``upload_url`` and ``upload_token``.
    upload : Upload
        The file here.
    moved : callable
        Is told the bytes that went.

    Raises
    ------
    Gone
        If the service does not know the upload any more.
    PublishError
        If a part did not arrive.
    """
    url = _url_of(item)
    place = f"{upload.name} at {urlsplit(url).netloc}"
    login = interface.login if _same_house(url, interface.base) else {}
    lock = Lock()

    def told(count: int) -> None:
        with lock:
            moved(count)

    with ApiClient(interface.settings, url, headers=login) as service:
        for _ in range(4):
            waiting = _waiting(service, url, upload, place)
            if not waiting:
                return

            def put(part: Mapping[str, Any]) -> None:
                _put(service, url, part, upload, told, place)

            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(put, waiting))
    raise PublishError(place, "the upload service took all parts and says that some are missing", "run it again")


def _waiting(service: ApiClient, url: str, upload: Upload, place: str) -> list[dict[str, Any]]:
    """The parts that have not arrived."""
    try:
        told = service.call("GET", url).json()
    except HostRefused as refused:
        if refused.status == 404:
            raise Gone from None
        raise _named(refused, place) from None
    except TransferError as failed:
        raise _named(failed, place) from None
    if told.get("status") == "ABORTED":
        raise Gone
    if told.get("status") == "COMPLETED":
        return []
    parts: list[dict[str, Any]] = told.get("parts") or []
    end = max((int(part["endOffset"]) + 1 for part in parts), default=0)
    if end != upload.size:
        raise PublishError(place, f"the upload service expects {end} bytes, and the file has {upload.size}")
    return [part for part in parts if part.get("status") != "COMPLETE"]


def _put(
    service: ApiClient, url: str, part: Mapping[str, Any], upload: Upload, moved: Callable[[int], None], place: str
) -> None:
    number, start, end = int(part["partNo"]), int(part["startOffset"]), int(part["endOffset"]) + 1
    one, place_of_part = f"{url}/{number}", f"part {number} of {place}"
    failures = 0
    for _ in tries(_LOCKED, 0.2, 5.0):
        sent = 0

        def told(count: int) -> None:
            nonlocal sent
            sent += count
            moved(count)

        if upload.path.stat().st_size != upload.size:
            raise PublishError(place, "the file has another size than a moment ago", "run it again once it is finished")
        try:
            with FileBody(upload.path, start, end - start, told) as body:
                kind = {"Content-Type": "application/octet-stream"}
                service.call("PUT", one, body=body, headers=kind, again=False, timeout=120)
            return
        except TransferError as failed:
            status = failed.status if isinstance(failed, HostRefused) else 0
            failures += status != 409
            if status == 404:
                raise Gone from None
            # the answer may be all that was lost; and an upload that was cut keeps its part locked for a while
            if number not in {int(other["partNo"]) for other in _waiting(service, url, upload, place)}:
                moved(end - start - sent)
                return
            moved(-sent)
            error = _named(failed, place_of_part)
            if (failed.final and status != 409) or failures > _FAILURES:
                raise error from None
    raise error


def _url_of(item: Mapping[str, Any]) -> str:
    """The address of an upload; it opens the upload for whoever has it, so it is in no message."""
    url, token = str(item.get("upload_url") or "").rstrip("/"), str(item.get("upload_token") or "")
    if token and token not in url:
        url += f"/{token}" if urlsplit(url).path else f"/upload/{token}"
    return url


def _same_house(url: str, base: str) -> bool:
    one, other = (urlsplit(each).hostname or "" for each in (url, base))
    return one == other or (one.partition(".")[2] == other.partition(".")[2] and other.count(".") == 2)


def _named(error: TransferError, place: str) -> PublishError:
    return PublishError(place, error.reason, "what arrived is kept there: run it again to go on")
