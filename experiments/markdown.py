"""Tables in Markdown, and the numbers in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (titles, *rows)]
    lines.insert(1, "|---" * len(titles) + "|")
    return "\n".join(lines)


def number(value: float, digits: int = 2) -> str:
    """Formats with ``digits`` significant digits: ``0.056``, below 0.01 ``3.9·10⁻³``; integers exactly."""
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if power < -2:
        text = f"{mantissa}·10{str(power).translate(_SUPERSCRIPTS)}"
    else:
        text = f"{value:,.{max(0, digits - 1 - power)}f}"
    return text.replace("-", "−")


def span(values: Iterable[float], written: Callable[[float], str] = number) -> str:
    """Formats the range of values; a single one if all are equal."""
    ordered = sorted(values)
    return "–".join(dict.fromkeys(map(written, (ordered[0], ordered[-1]))))
