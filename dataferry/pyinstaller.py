"""Where PyInstaller finds what it must know to freeze an application that uses dataferry."""

from __future__ import annotations

import os


def hook_folders() -> list[str]:
    """The folder of the hooks, as the entry point ``pyinstaller40`` gives it."""
    return [os.path.join(os.path.dirname(__file__), "data", "pyinstaller")]
