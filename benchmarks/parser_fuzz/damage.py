"""Random changes of valid input."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
NAMES = ("maps/dust_064.fits", "a.bin", "other.dat")
Dice = random.Random

# -- what is changed ---------------------------------------------------------------------------------------------------

ODD_TEXTS = (
    *("", " ", "\0", "\x1b]52;c;eA==\x07", "\ufeff", "\u202e", "\ud800", "é", "e\u0301", "²", "٣", "\\", '"', "'", "#"),
    *(
        "..",
        "../x",
        "/etc/passwd",
        "C:\\x",
        "x" * 300,
        "x/" * 600,
        "%2e%2e",
        "http://[",
        "http://a:99999/",
        "file:///x",
    ),
    *("http://u:p@h/", "https://127.0.0.1:9/x", "null", "nan", "inf", "-inf", "true", "1e400", "-1", "0", "1" * 5000),
    *("0x" + "f" * 6000, "9" * 30, "1979-05-27T07:32:00Z", "-0000", "Thu, 01 Jan 0001 00:00:00 -0000", "bytes */*"),
    *("bytes 0-5/6", f"bytes 0-{'9' * 5000}/*", "bytes ²-³/4", "soon", "=", ":", ",", ";", "\r", "\n", "\r\n\r\n"),
)
ODD_TOML = (
    *ODD_TEXTS,
    *(
        "[" * 3000,
        "[[" * 500,
        "{a=" * 2000,
        "[1,2]",
        "{}",
        '{a = "b"}',
        "[" * 90 + "1" + "]" * 90,
        '"""',
        "'''",
        "0xff",
    ),
    *("[" + "0x" + "f" * 6000 + "]", "{size = 0x" + "f" * 6000 + "}", '"\\ud800"', '"\\u0000"', "07:32:00", "[[[]]]"),
)


def odd_json(dice: Dice) -> Any:
    """Something that JSON can hold and that nobody expects."""
    deep: Any = 1
    for _ in range(dice.choice([3, 300, 900])):
        deep = [deep] if dice.random() < 0.5 else {"a": deep}
    values = [
        None,
        True,
        False,
        0,
        -1,
        1.5,
        float("nan"),
        float("inf"),
        10**12,
        2**62,
        10**30,
        10**4000,
        [],
        {},
        [1],
        {"a": 1},
    ]
    return dice.choice([*values, deep, dice.choice(ODD_TEXTS), dice.choice(ODD_TEXTS)])


def changed_text(dice: Dice, text: str, odd: tuple[str, ...] = ODD_TEXTS) -> bytes:
    """A text with one to four changes, in some encoding."""
    for _ in range(dice.choice([0, 1, 1, 2, 4])):
        lines = text.split("\n")
        at, (left, right) = dice.randrange(len(lines)), sorted(dice.randrange(len(text) + 1) for _ in range(2))
        word = dice.choice(odd)
        key, equals, _ = lines[at].partition("=")
        row = {
            "value": f"{key}{equals} {word}" if equals else word,
            "string": f'{key}{equals} "{word}"',
            "column": " ".join(word if dice.random() < 0.3 else column for column in lines[at].split(" ")),
            "deep key": f"{key.strip() or 'a'}{'.a' * dice.choice([1, 50, 2000])} = 1",
            "line": word,
            "twice": f"{lines[at]}\n{dice.choice(lines)}",
        }
        how = dice.choice([*row, "insert", "cut", "end", "repeat", "swap"])
        if how in row:
            lines[at] = row[how]
            text = "\n".join(lines)
        elif how == "insert":
            text = text[:left] + word + text[left:]
        elif how == "cut":
            text = text[:left] + text[right:]
        elif how == "end":
            text = text[:left]
        elif how == "repeat":
            text = text[:left] + text[left : left + 20] * dice.choice([2, 100, 3000]) + text[left:]
        else:
            dice.shuffle(lines)
            text = "\n".join(lines)
    encoding = dice.choice(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "latin-1"])
    text = text.replace("\n", "\r\n") if dice.random() < 0.05 else text
    return changed_bytes(dice, text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace"), 0.1)


def changed_bytes(dice: Dice, data: bytes, chance: float = 1.0) -> bytes:
    """Some bytes that are others, missing or there twice."""
    if dice.random() > chance or not data:
        return data
    found = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 5])):
        at = dice.randrange(len(found) + 1)
        how = dice.randrange(6)
        if how < 3:
            found[at : at + dice.choice([1, 1, 2, 4, 8])] = dice.choice(
                [b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\0" * 8, bytes([dice.randrange(256)]), b"\x7f\xff\xff\xff"]
            )
        elif how == 3:
            del found[at:]
        elif how == 4:
            del found[at : at + dice.choice([1, 7, 80, 512])]
        else:
            found[at:at] = found[dice.randrange(len(found) + 1) :][:512]
    return bytes(found)


def changed_json(dice: Dice, value: Any) -> Any:
    """A structure with some values that are others, and members that are missing or more."""
    if dice.random() < 0.08:
        return odd_json(dice)
    if isinstance(value, dict):
        kept = {key: changed_json(dice, item) for key, item in value.items() if dice.random() > 0.04}
        return kept | ({dice.choice(ODD_TEXTS): odd_json(dice)} if dice.random() < 0.05 else {})
    if isinstance(value, list):
        return [changed_json(dice, item) for item in value for _ in range(dice.choice([1] * 20 + [0, 2]))]
    return value


def json_bytes(dice: Dice, value: Any) -> bytes:
    with contextlib.suppress(RecursionError, ValueError):
        return changed_bytes(dice, json.dumps(changed_json(dice, value)).encode(), 0.1)
    return b"[" * 100_000
