"""Price cards: from a person's own price file, or by the launch price with its age said.

Prices change weekly and by country, so none is built in. ``prices.toml``::

    [[price]]
    card = "RTX 4070 SUPER"
    price = 589.0
    currency = "EUR"
    date = 2025-11-02
    shop = "where it was seen"      # or: note = "used, with invoice"

One file holds one currency: an exchange rate would be one more undated number.
"""

import datetime
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rtxbench.catalog.cards import Card, find_card
from rtxbench.errors import UsageError

__all__ = ["MSRP_CURRENCY", "Price", "PriceList", "load_prices", "price_of"]

MSRP_CURRENCY = "USD"
_KEYS = {"card", "price", "currency", "date", "shop", "note"}


class Price(msgspec.Struct, frozen=True):
    """One price of one card."""

    amount: float
    currency: str
    date: str
    """ISO 8601 day."""
    where: str
    """Shop or note; for a launch price, that it is one."""
    is_launch_price: bool

    @property
    def age_days(self) -> int:
        """Days since the price was seen."""
        return (datetime.date.today() - datetime.date.fromisoformat(self.date)).days


class PriceList(NamedTuple):
    """The prices of one file, or none."""

    currency: str
    by_card: Mapping[str, Price]
    path: str | None


def load_prices(path: Path | None, cards: Mapping[str, Card]) -> PriceList:
    """Read a price file; ``None`` gives an empty list in the launch prices' currency.

    Raises:
        UsageError: unreadable, an unknown card, a missing date or shop, a price that is none, or two currencies.
    """
    if path is None:
        return PriceList(MSRP_CURRENCY, {}, None)
    rows = _rows(path)
    prices = {}
    for number, row in enumerate(rows, start=1):
        card, price = _price(row, f"{path}, price {number}", cards)
        if card in prices:
            raise UsageError(f"{path}: {card} has two prices.", next_step="Keep the one you would pay.")
        prices[card] = price
    currencies = sorted({price.currency for price in prices.values()})
    if len(currencies) > 1:
        raise UsageError(
            f"{path} mixes currencies ({', '.join(currencies)}), which cannot be ranked together.",
            next_step="Convert them by hand at one day's rate, say so in `note`, or keep a file per currency.",
        )
    return PriceList(currencies[0] if currencies else MSRP_CURRENCY, prices, str(path))


def price_of(card: Card, prices: PriceList) -> Price | None:
    """Return the card's price in the list, else its launch price where the currency is the same, else ``None``."""
    if card.name in prices.by_card:
        return prices.by_card[card.name]
    if card.msrp_usd is None or card.launch_date is None or prices.currency != MSRP_CURRENCY:
        return None
    return Price(card.msrp_usd, MSRP_CURRENCY, card.launch_date, "launch price (MSRP), not today's", True)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.", next_step="Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML file: {error}.", next_step="See docs/purchase.md for its form.") from error
    rows = document.get("price", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or set(document) - {"price"}:
        raise UsageError(f"{path}: only [[price]] tables are expected.", next_step="See docs/purchase.md for its form.")
    return rows


def _price(row: Mapping[str, Any], where: str, cards: Mapping[str, Card]) -> tuple[str, Price]:
    unknown = set(row) - _KEYS
    if unknown:
        raise UsageError(
            f"{where}: unknown key {', '.join(sorted(unknown))}.", next_step=f"Use {', '.join(sorted(_KEYS))}."
        )
    card = find_card(_text(row, "card", where), cards).name
    amount = row.get("price")
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < 1e7:
        raise UsageError(f"{where} ({card}): price is {amount!r}.", next_step="Give a positive number.")
    date = row.get("date")
    if not isinstance(date, datetime.date) or isinstance(date, datetime.datetime):
        raise UsageError(
            f"{where} ({card}) has no date: a price without its day says nothing.",
            next_step="Add the day you saw it, unquoted: date = 2025-11-02.",
        )
    currency = _text(row, "currency", where).upper()
    if len(currency) != 3 or not currency.isalpha():
        raise UsageError(f"{where} ({card}): currency is {currency!r}.", next_step="Use its ISO code, such as EUR.")
    if "shop" not in row and "note" not in row:
        raise UsageError(f"{where} ({card}) names neither shop nor note.", next_step="Say where the price is from.")
    _check_day(date, card, cards[card], where)
    origin = ", ".join(str(row[key]) for key in ("shop", "note") if key in row)
    return card, Price(float(amount), currency, date.isoformat(), origin, False)


def _check_day(date: datetime.date, name: str, card: Card, where: str) -> None:
    """Raise unless somebody could have seen the price on that day.

    Raises:
        UsageError: it lies in the future, or before the card's launch.
    """
    if date > datetime.date.today():
        raise UsageError(f"{where} ({name}): {date} is yet to come.", next_step="Give the day you saw the price.")
    if card.launch_date is not None and date.isoformat() < card.launch_date:
        raise UsageError(
            f"{where} ({name}): {date} is before the card's launch on {card.launch_date}.",
            next_step="Give the day you saw the price.",
        )


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: {key} is missing.", next_step=f'Add {key} = "…".')
    return value.strip()
