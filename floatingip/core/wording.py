"""Times and durations in words, for people; and make texts from others safe for a terminal."""

from __future__ import annotations

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(seconds: float) -> str:
    """A duration, in two units at most: ``41 s``, ``3 min 12 s``, ``2 d 4 h``."""
    left, words = max(0, int(seconds)), list[str]()
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {unit}")
        if len(words) == 2 or (words and not count):
            break
    return " ".join(words) or "0 s"


def clock(wall: float) -> str:
    """Unix seconds as ``2026-11-28 10:02:11 UTC``."""
    days, second = divmod(int(wall), 86400)
    # Days are counted from 1 March of a year that is a multiple of 400, so that a leap day is the last day of a year.
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    of_month = day - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    date = f"{year + 400 * era + (month <= 2):04}-{month:02}-{of_month:02}"
    return f"{date} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} UTC"


def milliseconds(seconds: float) -> str:
    """A round-trip time, given in seconds: ``0.4 ms``, ``12 ms``."""
    told = seconds * 1000
    return f"{told:.1f} ms" if told < 9.95 else f"{told:.0f} ms"


def printable(text: str) -> str:
    """The text in one line, with unprintable characters replaced: it may come from somebody else."""
    return "".join(c if c.isprintable() else "�" for c in text)
