"""Which requests are spoilt, and by what."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .faults import Fault

__all__ = ["Rule", "Rules"]


@dataclass
class Rule:
    """Faults for some paths; made by `RangeServer.fault`.

    Parameters
    ----------
    pattern : str
        A glob for names.
    faults : tuple of Fault
        What goes wrong, in this order.
    skip : int
        Requests that are answered well before.
    first : int or None
        Requests that are spoilt; None for all.
    hits : int
        Requests that matched so far.
    """

    pattern: str
    faults: tuple[Fault, ...]
    skip: int = 0
    first: int | None = None
    hits: int = field(default=0, init=False)
    _on: bool = field(default=True, init=False, repr=False)

    def off(self) -> None:
        """Switch the faults off."""
        self._on = False

    def takes(self, name: str) -> bool:
        """Whether this rule spoils the present request; counts it if the name matches.

        Parameters
        ----------
        name : str
            The name that was asked for.

        Returns
        -------
        bool
            True if its faults apply.
        """
        if not self._on or not fnmatchcase(name, self.pattern):
            return False
        self.hits += 1
        return self.hits > self.skip and (self.first is None or self.hits <= self.skip + self.first)


class Rules:
    """The rules of a server, newest first, and how often each path was asked for; safe among threads."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> Rule:
        """Put a rule before the others.

        Parameters
        ----------
        rule : Rule
            The rule.

        Returns
        -------
        Rule
            The same.
        """
        with self._lock:
            self._rules.insert(0, rule)
        return rule

    def take(self, name: str) -> tuple[tuple[Fault, ...], int]:
        """The faults for a request.

        Parameters
        ----------
        name : str
            The name that is asked for.

        Returns
        -------
        (tuple of Fault, int)
            What goes wrong this time, and how often the name was asked for before.
        """
        with self._lock:
            times = self._times[name]
            self._times[name] += 1
            rule = next((rule for rule in self._rules if rule.takes(name)), None)
        return rule.faults if rule else (), times

    def clear(self) -> None:
        """Drop all rules."""
        with self._lock:
            self._rules.clear()

    def forget(self) -> None:
        """Count the requests of each name from zero again."""
        with self._lock:
            self._times.clear()
