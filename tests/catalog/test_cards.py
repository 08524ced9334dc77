from pathlib import Path

import pytest

from rtxbench.catalog.cards import (
    COLUMNS,
    find_card,
    load_cards,
    match_device,
    nearest_names,
    tensor_rate_faults,
)
from rtxbench.catalog.cards_text import card_text, cards_json, cards_table, host_lines
from rtxbench.errors import UsageError
from rtxbench.records import Cpu, Gpu

CARDS = load_cards()
GIB = 2**30
MINE = 'GeForce RTX 4065,geforce,,Ada Lovelace,,,,,,12,,336,,18.2,,,,,,,,,,,,,,"board partner, 2025-11-02",'


def test_catalogue_is_complete() -> None:
    """The catalogue holds the 46 cards with a source for each and no card twice."""
    assert len(CARDS) >= 46
    assert all(card.base_source for card in CARDS.values())


@pytest.mark.parametrize("name", CARDS)
def test_tensor_rates_follow_the_class_formula(name: str) -> None:
    """No Tensor rate strays more than 1.3 % from its class formula."""
    assert tensor_rate_faults(CARDS[name]) == []


def test_a_wrong_tensor_rate_is_found() -> None:
    """A rate that claims twice the formula is named: the check can fail."""
    import msgspec

    wrong = msgspec.structs.replace(CARDS["GeForce RTX 3090"], tf32_flop_per_s=71.2e12)
    assert tensor_rate_faults(wrong) == ["TF32: 2× FP32, formula 1×"]


def test_unverified_rows_are_flagged() -> None:
    """What the sources leave open is said: recalled whitepapers, a disputed cache size, a card without Tensor rates."""
    flagged = {name for name, card in CARDS.items() if card.caveats}
    assert {"GeForce RTX 3070", "GeForce RTX 5050", "GeForce RTX 5090 D", "L40S"} <= flagged
    assert "GeForce RTX 4060" not in flagged


def test_unknown_is_none_never_zero() -> None:
    """A figure nobody states is None."""
    card = CARDS["GeForce RTX 5090 D"]
    assert card.tf32_flop_per_s is None
    assert card.msrp_usd is None
    assert card.peak_flop_per_s("mixed_float16") is None


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("3090", "GeForce RTX 3090"),
        ("rtx4070tisuper", "GeForce RTX 4070 Ti SUPER"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("a6000", "RTX A6000"),
        ("3080 12gb", "GeForce RTX 3080 12GB"),
    ],
)
def test_people_type_short_names(typed: str, full: str) -> None:
    """A card is found by what people call it."""
    assert find_card(typed, CARDS).name == full


def test_ambiguous_name_lists_the_forms() -> None:
    """3080 exists with 10 and 12 GB: both are offered, none is guessed."""
    with pytest.raises(UsageError, match=r"3080 10GB, GeForce RTX 3080 12GB"):
        find_card("3080", CARDS)


def test_unknown_card_offers_the_nearest() -> None:
    """A typing error is answered with names that look alike."""
    with pytest.raises(UsageError, match="GeForce RTX 4070 SUPER"):
        find_card("4070 Supper", CARDS)
    assert nearest_names("zzz", CARDS) == []


@pytest.mark.parametrize(
    ("device", "memory_gib", "expected"),
    [
        ("NVIDIA GeForce RTX 3080", 10, "GeForce RTX 3080 10GB"),
        ("NVIDIA GeForce RTX 3080", 12, "GeForce RTX 3080 12GB"),
        ("NVIDIA GeForce RTX 4090", 24, "GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", 16, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16, "GeForce RTX 4090 Laptop GPU"),
        ("NVIDIA GeForce RTX 4090 Max-Q", 16, None),
        ("NVIDIA GeForce RTX 4090", 48, None),
        ("Tesla T4", 16, None),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 96, "RTX PRO 6000 Blackwell Workstation Edition"),
    ],
)
def test_device_matches_by_name_and_memory(device: str, memory_gib: int, expected: str | None) -> None:
    """NVML's name and memory give the catalogue's row; a laptop GPU its own row, a modified card none."""
    card = match_device(device, int(memory_gib * GIB * 0.995), CARDS)
    assert (card.name if card else None) == expected


def test_a_card_of_ones_own_is_one_line(tmp_path: Path) -> None:
    """A line without a header adds a card; its Tensor rates are derived and say so."""
    path = tmp_path / "mine.csv"
    path.write_text(MINE + "\n", encoding="utf-8")
    card = load_cards(path)["GeForce RTX 4065"]
    assert card.fp16_flop_per_s == pytest.approx(36.4e12)
    assert card.memory_bytes == 12 * GIB
    assert card.caveats == ("Tensor rates derived from the class formula",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (MINE.replace(",12,", ",,"), "memory_gb missing"),
        (MINE.replace(",12,", ",plenty,"), "'plenty', not a number"),
        (MINE.replace(",12,", ",-12,"), "not a possible value"),
        (MINE.replace("geforce", "gaming"), "'gaming' is unknown"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    """A wrong line in one's own file is told with its place and what is wrong."""
    path = tmp_path / "mine.csv"
    path.write_text(",".join(COLUMNS) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        load_cards(path)
    assert "line 2" in str(caught.value)


def test_a_datacenter_card_of_any_chip_is_read(tmp_path: Path) -> None:
    """A V100 line of one's own is read, its Tensor rates unknown; an A40's follow the workstation formula."""
    path = tmp_path / "mine.csv"
    rows = ["V100 16GB,datacenter,GV100", "A40,datacenter,GA102"]
    blank = [row + ",Ampere,,,,,,16,,900,,15.7" + "," * 14 + "board partner," for row in rows]
    path.write_text("\n".join(blank) + "\n", encoding="utf-8")
    cards = load_cards(path)
    assert cards["V100 16GB"].fp16_flop_per_s is None
    assert tensor_rate_faults(cards["V100 16GB"]) == []
    assert cards["A40"].fp16_flop_per_s == pytest.approx(4 * 15.7e12)


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    """A cards file that is not there is said to be not there."""
    with pytest.raises(UsageError, match="cannot read the cards file"):
        load_cards(tmp_path / "none.csv")


def test_texts_say_what_is_known() -> None:
    """The table marks unverified rows, the page of one card names its source, JSON is in SI units."""
    table = cards_table(CARDS)
    assert "GeForce RTX 5050 ?" in table
    assert "GeForce RTX 4060 ?" not in table
    assert "unverified" in card_text(CARDS["GeForce RTX 5050"])
    assert '"memory_bytes": 25769803776' in cards_json([CARDS["GeForce RTX 3090"]])


def test_the_machine_names_its_own_processor_and_cards() -> None:
    """The host's CPU and GPUs are listed as found, each GPU with its catalogue row or that it has none."""
    cpu = Cpu(name="Some CPU", physical_cores=8, logical_cores=16, memory_bytes=64 * GIB, features=("amx_bf16",))
    gpus = [
        Gpu(uuid="a", name="NVIDIA GeForce RTX 4090", index=0, memory_bytes=24 * GIB),
        Gpu(uuid="b", name="NVIDIA GeForce RTX 4090 Laptop GPU", index=1, memory_bytes=16 * GIB),
    ]
    lines = host_lines(cpu, gpus, CARDS).splitlines()
    assert lines[0] == "This machine: Some CPU, 8 cores, 64.0 GiB, amx_bf16"
    assert lines[1].strip() == "NVIDIA GeForce RTX 4090: GeForce RTX 4090"
    assert lines[2].strip() == "NVIDIA GeForce RTX 4090 Laptop GPU: GeForce RTX 4090 Laptop GPU"
