"""Which framework Keras runs on, and what the others may not do in its process."""

import subprocess
import sys
from pathlib import Path


def test_tensorflow_in_another_engines_process_sees_no_gpu(tmp_path: Path) -> None:
    """Fault 16: as soon as something imports TensorFlow in a JAX worker, its GPUs are hidden from it."""
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(
        "class config:\n    calls = []\n    set_visible_devices = lambda *given: config.calls.append(given)\n"
    )
    code = (
        "from rtxbench.engines.backend import hide_gpus_from_tensorflow as hide\n"
        "hide()\nhide()\nimport tensorflow\nassert tensorflow.config.calls == [([], 'GPU')], tensorflow.config.calls\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_choosing_another_engine_hides_them() -> None:
    """Fault 16: importing Keras on another engine is enough; TensorFlow's own worker keeps its GPUs."""
    code = (
        "import sys\nfrom unittest import mock\nimport rtxbench.engines.backend as backend\n"
        "backend.hide_gpus_from_tensorflow = hide = mock.Mock()\nwith mock.patch.dict(sys.modules, keras=sys):\n"
        "    backend.import_keras(sys.argv[1])\nprint(hide.call_count)\n"
    )
    for framework, calls in (("jax", "1"), ("torch", "1"), ("tensorflow", "0")):
        command = [sys.executable, "-c", code, framework]
        done = subprocess.run(
            command, env={"PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == calls, framework
