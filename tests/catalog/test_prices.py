from pathlib import Path

import pytest

from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.prices import load_prices, price_of
from rtxbench.errors import UsageError

CARDS = load_cards()
GOOD = """
[[price]]
card = "rtx 4070 super"
price = 589
currency = "eur"
date = 2025-11-02
shop = "a shop"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_price_keeps_its_day_and_shop(tmp_path: Path) -> None:
    """A price is read with currency, date and where it was seen, under the catalogue's name of the card."""
    prices = load_prices(written(tmp_path, GOOD), CARDS)
    price = prices.by_card["GeForce RTX 4070 SUPER"]
    assert (price.amount, price.currency, price.date, price.where) == (589.0, "EUR", "2025-11-02", "a shop")
    assert not price.is_launch_price


def test_launch_price_is_labelled_and_never_crosses_currencies(tmp_path: Path) -> None:
    """Without a file the launch price stands in, labelled; beside prices in euro it does not."""
    card = CARDS["GeForce RTX 4090"]
    launch = price_of(card, load_prices(None, CARDS))
    assert launch is not None
    assert launch.is_launch_price
    assert launch.amount == 1599
    assert price_of(card, load_prices(written(tmp_path, GOOD), CARDS)) is None


def test_a_card_without_any_price_has_none() -> None:
    """The RTX 4090 D never had a launch price in dollars."""
    assert price_of(CARDS["GeForce RTX 4090 D"], load_prices(None, CARDS)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("date = 2025-11-02\n", ""), "has no date"),
        (GOOD.replace("2025-11-02", "2131-01-01"), "yet to come"),
        (GOOD.replace("2025-11-02", "2019-01-01"), "before the card's launch"),
        (GOOD.replace("2025-11-02", '"yesterday"'), "has no date"),
        (GOOD.replace('shop = "a shop"', ""), "neither shop nor note"),
        (GOOD.replace("589", "0"), "price is 0"),
        (GOOD.replace("589", "true"), "price is True"),
        (GOOD.replace("eur", "money"), "currency is 'MONEY'"),
        (GOOD.replace("4070 super", "4075"), "no card named"),
        (GOOD + GOOD, "two prices"),
        (GOOD + GOOD.replace("4070 super", "4090").replace("eur", "usd"), r"mixes currencies \(EUR, USD\)"),
        (GOOD.replace("shop", "shopp"), "unknown key shopp"),
        ("price = 3", "only"),
        ("[[price", "no TOML file"),
    ],
)
def test_bad_price_files_are_answered(tmp_path: Path, text: str, message: str) -> None:
    """Each mistake is told in its own words, with what to do."""
    with pytest.raises(UsageError, match=message) as caught:
        load_prices(written(tmp_path, text), CARDS)
    assert caught.value.next_step


def test_missing_price_file(tmp_path: Path) -> None:
    """A named file that is not there is an error, not an empty list."""
    with pytest.raises(UsageError, match="cannot read"):
        load_prices(tmp_path / "none.toml", CARDS)
