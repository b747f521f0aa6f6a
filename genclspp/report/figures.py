"""How the numbers of records are written for people, and which way is better."""

import math

from genclspp.report import measures

MISSING = "–"


def is_share(metric: str) -> bool:
    """Whether a metric is shown in %."""
    found = measures.find(metric)
    return found is not None and found.unit == "share"


def is_loss(metric: str) -> bool:
    """Whether less of a metric is better."""
    found = measures.find(metric)
    return found is not None and found.goal == "minimize"


def scaled(metric: str, value: float) -> float:
    """A value as tables show it: shares in %."""
    return 100 * value if is_share(metric) else value


def value(metric: str, found: float | None, sign: str = "") -> str:
    """A value of a metric, in its unit: shares in %, times to two units, memory in MB or GB.

    >>> value("accuracy", 0.8512), value("ece", 0.0314), value("seconds/sft", 61), value("memory/sft", 2.5e9)
    ('85.1', '0.031', '1m01', '2.5 GB')
    """
    if found is None or not math.isfinite(found):
        return MISSING
    kind = metric.partition("/")[0]
    if kind == "seconds" and not sign:
        return duration(found)
    if kind == "memory" and not sign:
        return size(found)
    shown = scaled(metric, found)
    if kind in ("tokens", "examples"):
        return format(shown, f"{sign},.0f")
    places = 1 if is_share(metric) or abs(shown) >= 100 else 3
    return fixed(shown, places, sign)


def fixed(number: float, places: int, sign: str = "") -> str:
    """A number with so many places, halves away from zero, as the page writes it (`fixed` in elements.js).

    What is three digits behind the last place does not count: the page has no more, and floats have errors there.

    >>> fixed(-13.75, 1), fixed(28.549999999999997, 1), fixed(0.04, 1, "+")
    ('-13.8', '28.6', '+0.0')
    """
    scale = 10**places
    whole = math.floor(round(abs(number) * scale, 3) + 0.5)
    return format(math.copysign(whole, number) / scale, f"{sign}z.{places}f")


def duration(seconds: float) -> str:
    """Seconds as text, to two units.

    >>> [duration(s) for s in (0.4, 59, 61, 3725)]
    ['0 s', '59 s', '1m01', '1h02']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}"


def size(count: float) -> str:
    """Bytes as text.

    >>> [size(count) for count in (0, 1536, 2.5e6, 3e9)]
    ['0 kB', '2 kB', '2 MB', '3.0 GB']
    """
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def percent(share: float | None) -> str:
    """A relative gain.

    >>> percent(0.125), percent(float("nan"))
    ('+12.5 %', '–')
    """
    return MISSING if share is None or not math.isfinite(share) else f"{fixed(100 * share, 1, '+')} %"


def probability(p: float | None) -> str:
    """A p-value, to two digits after its zeros, and never as 0.

    >>> [probability(p) for p in (0.0000012, 0.0123, 0.25)]
    ['<0.0001', '0.012', '0.25']
    """
    if p is None:
        return MISSING
    if p < 0.0001:
        return "<0.0001"
    return format(p, ".2f" if p >= 0.0995 else ".2g")


def between(metric: str, low: float | None, high: float | None, sign: str = "") -> str:
    """An interval, such as "82.1 to 87.9"; empty where there is none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{value(metric, low, sign)} to {value(metric, high, sign)}"
