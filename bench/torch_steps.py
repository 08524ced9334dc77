"""Training loops as PyTorch's users write them by hand, to hold rtxbench's native step against.

Each function returns a step for rtxbench's ``python`` engine and shares nothing with rtxbench's engines but the models.
"""

from collections.abc import Callable
from typing import Any


def _step_of(name: str) -> Callable[[], Any]:
    import numpy as np
    import torch

    from rtxbench.workloads import workload_named

    torch.manual_seed(0)
    workload = workload_named(name)
    assert workload.native is not None
    model = workload.native.build().train()
    batch = workload.native.batch(workload.batch(workload.batch_sizes["cpu"], np.random.default_rng(0)))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=workload.learning_rate, fused=True)
    loss_of = workload.native.loss

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = model(**batch).loss if loss_of is None else loss_of(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def mlp() -> Callable[[], Any]:
    return _step_of("mlp")


def mlp_wide() -> Callable[[], Any]:
    return _step_of("mlp-wide")


def resnet14() -> Callable[[], Any]:
    return _step_of("resnet14-64px")


def bert_mini() -> Callable[[], Any]:
    return _step_of("bert-mini")


def llama_mini_lora() -> Callable[[], Any]:
    return _step_of("llama-mini-lora")
