"""Whether an account and an article have room for files; asked before the first byte goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import PublishError
from .flat import flat_name

if TYPE_CHECKING:
    from ..base import Upload
    from .draft import Draft

__all__ = ["MOST_BYTES", "check_room"]

_GB = 10**9
#: What Figshare takes in one file at all; 20 GB for an account that pays nothing.
MOST_BYTES = 5_000 * _GB
_FREE_BYTES = 20 * _GB
_FILES = 500


def check_room(account: Mapping[str, Any], draft: Draft, uploads: Sequence[Upload]) -> None:
    """Refuse what Figshare would refuse later.

    Parameters
    ----------
    account : mapping
        The account, with its limits.
    draft : Draft
        The article; what it has already needs no more room.
    uploads : sequence of Upload
        The files.

    Raises
    ------
    PublishError
        If a file is too large, or there are too many, or too much of them.
    """
    going = [upload for upload in uploads if draft.complete(upload) is None]
    most = account.get("maximum_file_size") or _FREE_BYTES
    for upload in going:
        if upload.size > most:
            raise PublishError(
                draft.at(upload),
                f"it has {upload.size} bytes, and the account takes {most} in one file",
                "Figshare lifts that on request for institutions, and sells Figshare+ for large data",
            )
    needed = sum(upload.size for upload in going if draft.begun(upload) is None)
    quota, used = account.get("quota"), account.get("used_quota_private") or 0
    if quota and needed > quota - used:
        free = max(0, quota - used)
        raise PublishError(
            draft.line,
            f"the files need {needed} bytes, and {free} are free of the {quota} that the account has for what is not "
            "published",
            "publish or delete other drafts, publish fewer files at a time, or ask Figshare for more",
        )
    kept = {str(item["name"]) for item in draft.files} | {flat_name(upload.name) for upload in going}
    # an institution, or Figshare+, has a number of its own and tells it only when it is reached
    if len(kept) > _FILES and not account.get("institution_id"):
        raise PublishError(
            draft.line,
            f"the article would have {len(kept)} files, and Figshare takes {_FILES}",
            "spread them over several articles, or pack them",
        )
