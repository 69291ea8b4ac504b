"""The logger ``dataferry``. A hit does not load `logging`, which takes 3 ms, for a message that nobody reads."""

from __future__ import annotations

import sys


def info(message: str, *arguments: object) -> None:
    """Log a message where `logging` is loaded: whoever reads the log has loaded it."""
    if "logging" in sys.modules:
        import logging  # waits where another thread is loading it just now

        logging.getLogger("dataferry").info(message, *arguments)


def warning(message: str, *arguments: object) -> None:
    """Log a warning, which Python prints where nobody has set up `logging`."""
    import logging

    logging.getLogger("dataferry").warning(message, *arguments)
