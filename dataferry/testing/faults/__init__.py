"""Faults that a `~dataferry.testing.RangeServer` can have, each as a real server or middlebox shows it on the wire.

====================  ==================================================================================================
fault                 what is on the wire
====================  ==================================================================================================
`Reset`               headers, n bytes of the body, then a TCP reset; or a reset in place of the status line
`Cut`                 headers, n bytes, then a clean end before ``Content-Length`` (or the last chunk) is reached
`Truncated`           200 without ``Content-Length``, ETag or ranges; n bytes, then a clean end: looks whole
`Stall`               headers and n bytes, then nothing, the connection open
`NeverAnswers`        nothing at all, the connection open
`Trickle`             the right reply at a few bytes a second
`Garbage`             bytes that are not HTTP, then a clean end
`HeaderFlood`         thousands of headers, then the right body
`Status`              403, 404, 408, 425, 429, 500, 503...; ``Retry-After`` in seconds or as a date
`Empty`               202 (or 200) with ``Content-Length: 0``
`Flaky`               another fault for the first k requests of each path, then the right reply
`LoginPage`           200 and a login page in HTML, no ETag, no ranges
`RedirectTo`          302 to another address or host
`RedirectLoop`        302 to itself, or to ever new addresses
`RedirectToLogin`     302 to ``/login?next=...``, which answers 200 and a login page
`IgnoresRange`        200 and the whole file for a request with ``Range``; no ``Accept-Ranges``
`IgnoresIfRange`      206 although ``If-Range`` names another version
`WrongContentRange`   206, the right bytes, a wrong (or no) ``Content-Range``
`OtherRange`          206, another range than asked for, a ``Content-Range`` that says so
`OtherFile`           another file under this name, by default of the same size, ranges and all
`FlippedByte`         one byte differs; size, ETag and date are right
`WrongLength`         the file is longer or shorter, and the headers agree with it
`WrongContentLength`  ``Content-Length`` above the body that comes (then a clean end), or below it
`WrongETag`           another ETag, a weak one, or none
`ChangingETag`        a new ETag in each reply
`LfsPointer`          a git-lfs pointer of three lines in place of the file
`GzipEncoding`        ``Content-Encoding: gzip``: compressed on the fly, stored so, or only so labelled
====================  ==================================================================================================

A server that is down (``server.stop()``) refuses connections; ``RangeServer(tls="bad-name")`` and ``tls="expired"``
show a wrong certificate.
"""

from __future__ import annotations

from .base import Fault
from .connection import Cut, Garbage, HeaderFlood, NeverAnswers, Reset, Stall, Trickle, Truncated
from .content import FlippedByte, GzipEncoding, LfsPointer, OtherFile, WrongContentLength, WrongLength
from .ranges import ChangingETag, IgnoresIfRange, IgnoresRange, OtherRange, WrongContentRange, WrongETag
from .status import Empty, Flaky, LoginPage, RedirectLoop, RedirectTo, RedirectToLogin, Status, login_page

__all__ = [
    "ChangingETag",
    "Cut",
    "Empty",
    "Fault",
    "Flaky",
    "FlippedByte",
    "Garbage",
    "GzipEncoding",
    "HeaderFlood",
    "IgnoresIfRange",
    "IgnoresRange",
    "LfsPointer",
    "LoginPage",
    "NeverAnswers",
    "OtherFile",
    "OtherRange",
    "RedirectLoop",
    "RedirectTo",
    "RedirectToLogin",
    "Reset",
    "Stall",
    "Status",
    "Trickle",
    "Truncated",
    "WrongContentLength",
    "WrongContentRange",
    "WrongETag",
    "WrongLength",
    "login_page",
]
