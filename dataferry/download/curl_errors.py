"""What libcurl says went wrong, as one of our errors."""

from __future__ import annotations

import errno
import os
from typing import Any

import pycurl

from ..errors import Reason, TransferError
from ..registry.names import redact_url

# libcurl's numbers for what pycurl has no names for
_E_WEIRD_ANSWER, _E_HTTP2_STREAM, _E_PROXY, _E_TOO_LARGE = 8, 92, 97, 100
_NO_HTTP, _TLS = "not an answer of HTTP: {text}", "TLS failed{via}: {text}"

#: libcurl's code -> the reason, its text with libcurl's own in it, and whether to ask again cannot help
_FAILURES = {
    pycurl.E_COULDNT_RESOLVE_HOST: (Reason.DNS, "the host name is not known{via}", False),
    pycurl.E_COULDNT_CONNECT: (Reason.CONNECT, "no connection{via}: {text}", False),
    pycurl.E_COULDNT_RESOLVE_PROXY: (Reason.PROXY, "no connection{via}: {text}", False),
    _E_PROXY: (Reason.PROXY, "no connection{via}: {text}", False),
    pycurl.E_PEER_FAILED_VERIFICATION: (
        Reason.TLS,
        "the certificate is not trusted: {text}; if your institute issues its own certificates, set ca_bundle",
        True,
    ),
    pycurl.E_SSL_CONNECT_ERROR: (Reason.TLS, _TLS, False),
    pycurl.E_SSL_CERTPROBLEM: (Reason.TLS, _TLS, True),
    pycurl.E_SSL_CACERT_BADFILE: (Reason.TLS, _TLS, True),
    pycurl.E_GOT_NOTHING: (Reason.CUT, "the connection was closed without an answer{via}", False),
    pycurl.E_PARTIAL_FILE: (Reason.CUT, "the connection was cut in mid-body", False),
    pycurl.E_HTTP2: (Reason.CUT, "the connection was cut in mid-body", False),
    _E_HTTP2_STREAM: (Reason.CUT, "the connection was cut in mid-body", False),
    pycurl.E_RECV_ERROR: (Reason.CUT, "the connection was reset{via}", False),
    pycurl.E_SEND_ERROR: (Reason.CUT, "the connection was reset{via}", False),
    pycurl.E_FILESIZE_EXCEEDED: (Reason.SIZE, "{text}", True),
    pycurl.E_UNSUPPORTED_PROTOCOL: (Reason.PROTOCOL, _NO_HTTP, False),
    pycurl.E_BAD_CONTENT_ENCODING: (Reason.PROTOCOL, _NO_HTTP, False),
    _E_WEIRD_ANSWER: (Reason.PROTOCOL, _NO_HTTP, False),
    _E_TOO_LARGE: (Reason.PROTOCOL, _NO_HTTP, False),
}
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})


def error_of(curl: Any, code: int, text: str, place: str, proxy: str | None) -> TransferError:
    """The error for a request about `place` that ended with one of libcurl's codes."""
    via = f" through the proxy {redact_url(proxy)}" if proxy else ""
    text = text.replace(proxy, redact_url(proxy)) if proxy else text
    if code == pycurl.E_OPERATION_TIMEDOUT:
        if "too slow" in text:  # since libcurl 8.20 its times are set in both cases
            return TransferError(place, "the server sent too few bytes", kind=Reason.STALL)
        return TransferError(place, f"no connection in time{via}", kind=Reason.TIMEOUT)
    tunnel = int(curl.getinfo(pycurl.HTTP_CONNECTCODE))
    if proxy and tunnel >= 300:
        hint = "; give user and password in the proxy's URL" if tunnel == 407 else ""
        reason = f"the proxy {redact_url(proxy)} answered {tunnel}{hint}"
        return TransferError(place, reason, kind=Reason.PROXY, final=tunnel < 500)
    if "chunk" in text:  # of E_RECV_ERROR; the bytes before may be all there are, as after a cut
        return TransferError(place, f"the chunks of the body are not those of HTTP: {text}", kind=Reason.CUT)
    if "headers" in text:  # "Too large response headers", of several codes
        code = _E_TOO_LARGE
    number = int(curl.getinfo(pycurl.OS_ERRNO))
    if code == pycurl.E_COULDNT_CONNECT and number:
        text = os.strerror(number)
        if number in _UNREACHABLE:
            return TransferError(place, f"no route to the host{via}: {text}", kind=Reason.UNREACHABLE, final=True)
    kind, reason, final = _FAILURES.get(code, (Reason.ERROR, "{text} (libcurl " + str(code) + ")", False))
    return TransferError(place, reason.format(via=via, text=text), kind=kind, final=final)
