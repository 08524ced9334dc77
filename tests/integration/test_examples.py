"""The examples run by the lines of their README, in the shortest form that is still the real thing."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rtxbench.hardware.trace import load_trace
from rtxbench.own.first_steps import first_steps
from rtxbench.own.plan import plain_case, target_of
from rtxbench.workloads.own import SOURCE_VARIABLE
from tests.synthetic import CPU_ONLY
from tests.waiting import HANG_S

ROOT = Path(__file__).parents[2]
README = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
RUNS = [shlex.split(line, comments=True)[2:] for line in re.findall(r"^rtxbench run .*", README, re.MULTILINE)]
TRACES = [shlex.split(line, comments=True) for line in re.findall(r"^rtxbench trace -- .*", README, re.MULTILINE)]
FORMS = [*RUNS, ["--model", "examples/jax_mlp.py:build"]]
"""Every command of the README, and the example that it shows in its table alone."""
SMALL = 2


@pytest.mark.slow
@pytest.mark.parametrize("options", FORMS, ids=" ".join)
def test_a_model_of_the_readme_trains(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its engine is found, its function called and three steps trained in a worker process, at a batch of two."""
    named = dict(zip(options[::2], options[1::2], strict=True))
    assert set(named) <= {"--model", "--engine", "--batch-size"}
    monkeypatch.chdir(ROOT)
    target = target_of(named["--model"], named.get("--engine"), SMALL)
    pytest.importorskip(target.engine)
    if "hugging_face" in target.path.name:
        pytest.importorskip("transformers")
    monkeypatch.setenv(SOURCE_VARIABLE, target.source)
    seen = first_steps(plain_case(target, CPU_ONLY), 3)
    assert len(seen.losses) == 3
    assert seen.losses[-1] < seen.losses[0]


def test_the_readme_shows_three_models_and_a_script() -> None:
    """Keras, plain PyTorch and Hugging Face to be measured, and a script to be traced."""
    names = {options[1].partition(":")[0] for options in RUNS}
    assert names == {f"examples/{name}.py" for name in ("torch_transformer", "hugging_face", "keras_cnn")}
    assert len(TRACES) == 1


@pytest.mark.slow
def test_the_script_of_the_readme_is_traced_as_it_is(tmp_path: Path) -> None:
    """It knows nothing of rtxbench, learns, and leaves a complete recording."""
    pytest.importorskip("torch")
    script = TRACES[0][TRACES[0].index("python") + 1]
    path = tmp_path / "t.trace.jsonl"
    traced = [sys.executable, "-m", "rtxbench", "trace", "--out", str(path), "--", sys.executable, script]
    done = subprocess.run(
        [*traced, "--epochs", "1", "--examples", "640"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Test set: Accuracy" in done.stdout
    assert "cores used by the command" in done.stderr
    assert load_trace(path).end is not None
    assert "rtxbench" not in (ROOT / script).read_text(encoding="utf-8").partition('"""\n\n')[2]
