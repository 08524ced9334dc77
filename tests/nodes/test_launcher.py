"""What a launcher leaves in the environment: this process's rank, and where the others are."""

import json

import pytest

from rtxbench.errors import UsageError
from rtxbench.nodes.launcher import Seat, first_host, forget_launcher, seat_of, token_of

TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "head", "MASTER_PORT": "29500"}
SRUN = {"SLURM_PROCID": "2", "SLURM_NTASKS": "3", "SLURM_NODELIST": "rack[03-05,9]", "SLURM_LOCALID": "0"}
TF_CONFIG = {
    "TF_CONFIG": json.dumps(
        {"cluster": {"worker": ["head:2222", "other:2222"]}, "task": {"type": "worker", "index": 1}}
    )
}


@pytest.mark.parametrize(
    ("environ", "seat"),
    [
        (TORCHRUN, Seat(3, 4, "head", 29501, 1)),
        ({**TORCHRUN, "RTXBENCH_NODES_PORT": "7"}, Seat(3, 4, "head", 7, 1)),
        (SRUN, Seat(2, 3, "rack03", 29611, 0)),
        ({**SRUN, **TORCHRUN}, Seat(3, 4, "head", 29501, 1)),  # torchrun within a task of srun
        (TF_CONFIG, Seat(1, 2, "head", 2223, 0)),
    ],
)
def test_the_seat_is_what_the_launcher_says(environ: dict[str, str], seat: Seat) -> None:
    """Rank, world, rank 0's address and the port beside the launcher's own, from each of the three."""
    assert seat_of(environ) == seat


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("one", "one"), ("a,b", "a"), ("gpu[7,9-12]", "gpu7"), ("r[01-04].lan,x", "r01.lan"), ("n[1-2],m[3-4]", "n1")],
)
def test_the_first_host_of_slurms_list(hosts: str, first: str) -> None:
    """Slurm's first task runs on the first node of its list."""
    assert first_host(hosts) == first


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SLURM_JOB_NODELIST": "n[1-2]"},  # in an allocation, but not started by srun
        {"TF_CONFIG": "{"},
        {"TF_CONFIG": '{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}'},
        {"TF_CONFIG": '{"cluster": {"worker": ["h:1"]}, "task": {"type": "chief", "index": 0}}'},
    ],
)
def test_a_process_without_a_seat_is_told_how_to_get_one(environ: dict[str, str]) -> None:
    """No launcher, or one whose variables say nothing: a usage error."""
    with pytest.raises(UsageError):
        seat_of(environ)


def test_a_token_that_could_be_guessed_is_refused() -> None:
    """Whoever knows it starts processes on every node: none at all, and a short one, are errors that say how."""
    assert token_of({"RTXBENCH_NODES_TOKEN": "x" * 16}) == "x" * 16
    for environ in ({}, {"RTXBENCH_NODES_TOKEN": "secret"}):
        with pytest.raises(UsageError, match="openssl rand"):
            token_of(environ)


def test_frameworks_see_nothing_of_the_launcher() -> None:
    """The arms that train on one node would otherwise wait for the others."""
    left = {"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1"}
    environ = {**TORCHRUN, **SRUN, **TF_CONFIG, **left, "PATH": "/bin", "RTXBENCH_NODES_PORT": "7"}
    forget_launcher(environ)
    assert environ == {"PATH": "/bin", "RTXBENCH_NODES_PORT": "7"}
    own = {**SRUN, "OMP_NUM_THREADS": "1"}
    forget_launcher(own)
    assert own == {"OMP_NUM_THREADS": "1"}  # the user's own choice
