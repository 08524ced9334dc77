"""Check for what makes a card slower than its name promises: link, power limit, a display, copies between two cards."""

from typing import Final

from rtxbench.doctor.finding import Check, Finding
from rtxbench.doctor.installation import Installation
from rtxbench.units import format_power

__all__ = ["CARD_CHECKS"]


def _pcie_link(facts: Installation) -> Finding | None:
    """Check the width, negotiated once, so that it can be judged idle; the generation falls when a card idles."""
    for card in facts.probe.cards:
        if card.pcie_width and card.pcie_width_most and card.pcie_width < card.pcie_width_most:
            return Finding(
                "warn",
                "PCIe link",
                f"{card.name} runs on {card.pcie_width} lanes of {card.pcie_width_most}",
                "Batches and gradients cross it at that share of the speed.",
                "Seat the card again in the slot nearest the processor; no other slot may share its lanes.",
            )
    return None


def _power_limit(facts: Installation) -> Finding | None:
    for number, card in enumerate(facts.probe.cards):
        if card.power_limit_w and card.power_limit_default_w and card.power_limit_w < card.power_limit_default_w - 1:
            return Finding(
                "warn",
                "power limit",
                f"{card.name} is limited to {format_power(card.power_limit_w)}; its default is "
                f"{format_power(card.power_limit_default_w)}",
                "It clocks lower under load; figures are those of the limited card, and every record says the limit.",
                f"`sudo nvidia-smi -i {number} -pl {card.power_limit_default_w:.0f}`, unless the limit is meant.",
            )
    return None


def _display(facts: Installation) -> Finding | None:
    names = [card.name for card in facts.probe.cards if card.display_active]
    if not names:
        return None
    return Finding(
        "warn",
        "display",
        f"{names[0]} draws a display",
        "A desktop holds memory of the card and runs kernels between those of the training.",
        "Log out of the desktop while measuring, or plug the display into another card.",
    )


def _peer_copies(facts: Installation) -> Finding | None:
    """Find two cards whose drivers claim direct copies that give wrong data or hang (nccl-tests#117)."""
    probe = facts.peer_copies
    if probe is None:
        return None
    if probe.state in ("ok", "staged"):
        words = {"ok": "right, card to card", "staged": "right, through the host's memory (no peer access)"}
        return Finding("ok", "copies between cards", words[probe.state])
    return Finding(
        "fail" if probe.state in ("wrong", "hang") else "warn",
        "copies between cards",
        {"wrong": "arrive with wrong data", "hang": "do not return"}.get(probe.state, "could not be tried"),
        f"{probe.detail} Training on several cards then gives wrong gradients or stands still (nccl-tests#117)."
        if probe.state in ("wrong", "hang")
        else probe.detail,
        "Set NCCL_P2P_DISABLE=1 for every program, and switch the IOMMU off in the firmware (or boot with iommu=pt)."
        if probe.state in ("wrong", "hang")
        else "Check that `nvidia-smi` works, then run `rtxbench doctor` again.",
    )


CARD_CHECKS: Final[tuple[Check, ...]] = (_pcie_link, _power_limit, _display, _peer_copies)
"""Checks of the cards themselves."""
