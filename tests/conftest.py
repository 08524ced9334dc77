"""What every test shares: a quiet TensorFlow, the same random draws every time, and nothing of the user's settings."""

import os
import signal
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

# What the person or the service that runs the tests has set for other programs: a hook's repository, signed commits,
# colours and widths of a terminal, engines that live elsewhere.
_FOREIGN = ("GIT_", "RTXBENCH_PYTHON_", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "COLUMNS", "LINES")
for _name in [name for name in os.environ if name.startswith(_FOREIGN)]:
    del os.environ[_name]
os.environ["GIT_CONFIG_GLOBAL"] = os.devnull
os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
# Tests measure nothing that counts: they wait for no other measurement on the machine, nor for each other.
_LOCKS = tempfile.TemporaryDirectory(prefix="rtxbench-tests-")
os.environ["RTXBENCH_LOCK"] = str(Path(_LOCKS.name) / "lock")
# Nor do they leave a note of what they measured among the user's.
os.environ["XDG_STATE_HOME"] = str(Path(_LOCKS.name) / "state")
# Programs that the tests start find this tree from every folder, installed or not.
_TREE = str(Path(__file__).parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_TREE, os.environ.get("PYTHONPATH")]))

# A shell starts what it puts in the background with Ctrl-C ignored, and every child inherits that: tests that send one
# would wait for a reaction that cannot come.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Under nohup the same holds of a closed terminal.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No example is new on the day of a release, and none is too slow on a busy machine.
# `pytest --hypothesis-profile=default` draws others.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")
