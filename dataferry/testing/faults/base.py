"""What a fault may change: the request, the content, the reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..content import Content
    from ..reply import Asked, Reply

__all__ = ["Fault"]


class Fault:
    """One thing that goes wrong at a server or on the way.

    A fault overrides what it spoils; the rest stays what a good server does. Write your own in the same way.
    """

    def ask(self, asked: Asked) -> Asked:
        """The request as the faulty server understands it.

        Parameters
        ----------
        asked : Asked
            The request as it came in.

        Returns
        -------
        Asked
            Without the headers that the server does not heed.
        """
        return asked

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        """What the URL stands for at the faulty server.

        Parameters
        ----------
        content : Content or None
            What it should stand for; None if there is no such file.
        asked : Asked
            The request.

        Returns
        -------
        Content or None
            What is served.
        """
        return content

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        """The reply as it goes on the wire.

        Parameters
        ----------
        reply : Reply
            The right reply for `content`.
        asked : Asked
            The request.

        Returns
        -------
        Reply
            The spoilt reply.
        """
        return reply
