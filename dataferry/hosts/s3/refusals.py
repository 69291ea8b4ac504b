"""What the errors of a store mean, and what helps."""

from __future__ import annotations

from ...errors import AccessDenied, MissingExtra, PublishError

try:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
    )
except ImportError as error:
    raise MissingExtra("s3", "boto3") from error

__all__ = ["SIGN_IN", "BotoCoreError", "ClientError", "code_of", "error_of"]

#: What a key has to be allowed; `dataferry host s3 policy` prints all of it.
RIGHTS = "s3:PutObject, s3:GetObject, s3:ListBucket and those for multipart uploads"


def code_of(exc: BaseException) -> str:
    """The store's word for an error.

    Parameters
    ----------
    exc : BaseException
        What boto3 raised.

    Returns
    -------
    str
        ``"NoSuchKey"``, or the HTTP status where the answer had no body; empty where the store did not answer.
    """
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def error_of(exc: Exception, redacted: str, what: str) -> PublishError:
    """Name what went wrong.

    Parameters
    ----------
    exc : Exception
        What boto3 raised.
    shown : str
        The bucket as it may be printed.
    what : str
        The file, or what was asked for.

    Returns
    -------
    PublishError
        To be raised.
    """
    place, code = f"{redacted} ({what})", code_of(exc)
    if isinstance(exc, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return AccessDenied(place, f"no credentials: {exc}", SIGN_IN)
    if not isinstance(exc, ClientError):
        if isinstance(exc, HTTPClientError):
            reason = f"the store did not answer: {exc.kwargs.get('error', exc)}"
            return PublishError(place, reason, "what went up is kept there; the same command goes on from there")
        return PublishError(place, str(exc))
    said = exc.response.get("Error", {}).get("Message") or ""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = f"{code or status}" + (f": {said}" if said and said != code else "")
    if code in _MEANT:
        kind, why, remedy = _MEANT[code]
        return kind(place, f"{why} ({reason})", remedy)
    if status == 403:
        return AccessDenied(place, f"this access key may not do that ({reason})", _RIGHTS)
    if status == 404:
        return PublishError(place, f"it is not there ({reason})")
    return PublishError(place, f"HTTP {status}: {reason}")


SIGN_IN = (
    "give an access key by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by AWS_PROFILE after `aws configure`, or as "
    'user and password in [hosts."s3://<host of the store>"] of config.toml'
)
_RIGHTS = f"it needs {RIGHTS}: `dataferry host s3 policy BUCKET` prints the policy and the commands that grant it"
_NEW_KEY = "compare the access key and its secret; the place where they were found is named by `dataferry publish`"
_CLOCK = "set the clock of this machine (`timedatectl set-ntp true`): signatures hold for a quarter of an hour"
_FULL = "remove something there, or ask for a larger quota; what went up is kept, and the same command goes on"
_MEANT: dict[str, tuple[type[PublishError], str, str]] = {
    "SignatureDoesNotMatch": (AccessDenied, "the secret key is not the one of this access key", _NEW_KEY),
    "InvalidAccessKeyId": (AccessDenied, "the store does not know this access key", _NEW_KEY),
    "InvalidToken": (AccessDenied, "the session's token is not valid", SIGN_IN),
    "ExpiredToken": (AccessDenied, "the session has expired", "sign in again, `aws sso login` for one"),
    "RequestTimeTooSkewed": (AccessDenied, "the clocks of this machine and of the store differ too much", _CLOCK),
    "NoSuchBucket": (PublishError, "there is no such bucket", "make it with `dataferry host s3 setup BUCKET`"),
    "QuotaExceeded": (PublishError, "the quota there is full", _FULL),
    "InvalidStorageClass": (
        PublishError,
        "the store does not have this storage class",
        "see `class` in the declaration",
    ),
    "PermanentRedirect": (PublishError, "the bucket is in another region", "give its region in the declaration"),
    "IllegalLocationConstraintException": (
        PublishError,
        "the bucket is in another region",
        "give its region in the declaration",
    ),
}
