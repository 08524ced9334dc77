"""SI inside, human text at the edge: the only place where a quantity becomes a string."""

__all__ = [
    "format_bytes",
    "format_card_memory",
    "format_change",
    "format_count",
    "format_duration",
    "format_money",
    "format_number",
    "format_percent",
    "format_power",
    "format_quantity",
    "format_ratio",
]

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY_PREFIXES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def format_quantity(value: float, unit: str) -> str:
    """Three significant digits and an SI prefix: ``format_quantity(35.6e12, "FLOP/s")`` → ``35.6 TFLOP/s``."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{_significant(value / factor)} {prefix}{unit}"
    return f"{_significant(value)} {unit}"


def format_bytes(value_bytes: float) -> str:
    """Binary prefix, three significant digits: ``25769803776`` → ``24.0 GiB``."""
    for factor, unit in _BINARY_PREFIXES:
        if abs(value_bytes) >= factor:
            return f"{_significant(value_bytes / factor)} {unit}"
    return f"{value_bytes:.0f} B"


def format_duration(value_s: float) -> str:
    """Write a duration: ``0.00021`` → ``210 µs``; ``0.0415`` → ``41.5 ms``; ``90`` → ``1 min 30 s``."""
    if value_s < 1e-3:
        return f"{_significant(value_s * 1e6)} µs"
    if value_s < 1:
        return f"{_significant(value_s * 1e3)} ms"
    if value_s < 60:
        return f"{_significant(value_s)} s"
    minutes, seconds = divmod(round(value_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def format_ratio(value_ratio: float) -> str:
    """Three significant digits and the times sign: ``1.42×``."""
    return f"{_significant(value_ratio)}×"


def format_percent(value_ratio: float, digits: int | None = 1) -> str:
    """Write a 0-1 ratio as a percentage: ``0.0123`` → ``1.2 %``; ``None`` keeps the digits given, ``95 %``."""
    return f"{value_ratio * 100:g} %" if digits is None else f"{value_ratio * 100:.{digits}f} %"


def format_change(value_ratio: float, digits: int = 1) -> str:
    """Write a change as a percentage with its sign: ``0.0123`` → ``+1.2 %``."""
    return f"{value_ratio * 100:+.{digits}f} %"


def format_number(value: float, digits: int = 3) -> str:
    """So many significant digits at least, thousands apart, never an exponent of ten: ``12345.6`` → ``12,346``."""
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def format_count(value: float) -> str:
    """Write a whole number, thousands apart: ``1234567`` → ``1,234,567``."""
    return f"{value:,.0f}"


def format_money(amount: float, currency: str) -> str:
    """Write an amount of money: ``1599`` → ``1,599 USD``."""
    return f"{amount:,.0f} {currency}"


def format_power(value_w: float) -> str:
    """Whole watts, as vendors and nvidia-smi state them: ``350 W``."""
    return f"{value_w:.0f} W"


def format_card_memory(value_bytes: float) -> str:
    """Write the size on a card's box, which is binary whatever its name: ``25769803776`` → ``24 GB``."""
    return f"{value_bytes / 2**30:.0f} GB"


def _significant(value: float) -> str:
    magnitude = abs(value)
    if magnitude >= 100 or magnitude == 0:
        return f"{value:.0f}"
    if magnitude >= 10:
        return f"{value:.1f}"
    if magnitude >= 0.01:
        return f"{value:.2f}"
    return f"{value:.2g}"
