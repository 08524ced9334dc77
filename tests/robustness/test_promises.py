"""`rtxbench selftest` says what holds, and a broken promise is told apart from a kept one."""

import pytest
from typer.testing import CliRunner

from rtxbench.cli import app
from rtxbench.errors import MeasurementError
from rtxbench.exits import FAULT
from rtxbench.robustness import promises
from rtxbench.robustness.promises import PROMISES, Held, Promise, ask


@pytest.mark.parametrize("promise", [p for p in PROMISES if p.title.startswith(("Verdicts", "The gate"))])
def test_the_simulated_promises_hold(promise: Promise) -> None:
    """The verdict rule and the gate keep their rates in noise as found on record."""
    assert promise.ask().holds, promise.ask().sentence


def test_a_broken_promise_ends_with_a_fault_and_the_long_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a promise; the command that looks closer stands under a broken one; the exit code is no success."""
    kept = Promise("Kept", lambda: Held(True, "all well"), "long kept")
    broken = Promise("Broken", lambda: Held(False, "2 faults"), "long broken")
    untried = Promise("Untried", lambda: Held(None, "no browser"), "long untried")
    monkeypatch.setattr(promises, "PROMISES", (kept, broken, untried))
    shown = CliRunner().invoke(app, ["selftest"])
    assert shown.exit_code == FAULT
    assert "holds   Kept: all well" in shown.output
    assert "BROKEN  Broken: 2 faults" in shown.output
    assert ("long broken" in shown.output, "long kept" in shown.output) == (True, False)
    assert "1 of 3 promises hold here, 1 could not be tried" in shown.output


def test_a_promise_that_cannot_be_tried_is_broken_and_the_others_are_asked_all_the_same() -> None:
    """A command that refuses to work ends its own line, not the self-test."""

    def refuse() -> Held:
        raise MeasurementError("report fails where nobody kills it.", next_step="")

    assert ask(Promise("Broken", refuse, "long")) == Held(False, "report fails where nobody kills it.")


def test_every_long_form_is_a_command() -> None:
    """The page on reliability and the terminal name commands that exist."""
    for promise in PROMISES:
        program, *words = promise.long_form.split()
        assert program == "rtxbench"
        shown = CliRunner().invoke(app, [*words[:2], "--help"])
        assert shown.exit_code == 0
