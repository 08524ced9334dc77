"""Switches of a plain PyTorch training step: memory format, optimizer, attention, checkpointing, accumulation.

Each is what the documentation of PyTorch or Transformers tells users to write. A switch that would change nothing is
refused: measured under another name, the plain step would be the worst kind of result.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from rtxbench.errors import UnavailableError
from rtxbench.workloads.switches import switches_of

__all__ = ["Switches"]


class Switches:
    """The switches of one case.

    Args:
        torch: the module.
        variant: names them.
    """

    def __init__(self, torch: Any, variant: str) -> None:
        self._torch = torch
        self._names = switches_of(variant)

    @property
    def cudnn_benchmark(self) -> bool:
        """A trial by cuDNN of which of its convolutions is fastest."""
        return "cudnn-benchmark" in self._names

    def on_model(self, model: Any) -> Any:
        """Throw the switches of a model that is on its device; returns it.

        Raises:
            UnavailableError: the model has no such switch, or it is thrown already.
        """
        for name in self._names:
            if name in _OF_MODEL:
                _OF_MODEL[name](self._torch, model)
        return model

    def on_tensor(self, tensor: Any) -> Any:
        """Lay out a tensor of the batch as the model's convolutions want it."""
        images = "channels-last" in self._names and tensor.ndim == 4
        return tensor.contiguous(memory_format=self._torch.channels_last) if images else tensor

    def on_optimizer(self, optimizer: Any) -> Any:
        """Let one kernel update all parameters; returns the optimizer.

        Raises:
            UnavailableError: it is fused already, or has no fused form.
        """
        if "fused-optimizer" in self._names:
            if "fused" not in optimizer.defaults:
                raise _none(f"{type(optimizer).__name__} has no fused form")
            if optimizer.defaults["fused"]:
                raise _none("the optimizer is fused already")
            optimizer.defaults |= {"fused": True, "foreach": False}
            for group in optimizer.param_groups:
                group |= {"fused": True, "foreach": False}
        return optimizer

    def parts_of(self, batch: Any, batch_size: int) -> list[Any]:
        """Cut a batch into what is computed at once: itself, or its accumulated parts.

        Raises:
            UnavailableError: the batch has no such parts.
        """
        count = next((int(name.partition("-")[2]) for name in self._names if name.startswith("accumulate-")), 1)
        if count == 1:
            return [batch]
        if batch_size % count:
            raise _none(f"a batch of {batch_size} has no {count} equal parts")
        size = batch_size // count

        def part(leaf: Any, start: int) -> Any:
            return leaf[start : start + size] if leaf.ndim and len(leaf) == batch_size else leaf

        tree_map = self._torch.utils._pytree.tree_map
        return [tree_map(partial(part, start=start), batch) for start in range(0, batch_size, size)]


def _none(why: str) -> UnavailableError:
    return UnavailableError(f"{why}.", next_step="Leave this switch out.")


def _channels_last(torch: Any, model: Any) -> None:
    if not any(isinstance(module, torch.nn.Conv2d) for module in model.modules()):
        raise _none("the model has no two-dimensional convolution")
    model.to(memory_format=torch.channels_last)


def _cudnn_benchmark(torch: Any, model: Any) -> None:
    if not any(isinstance(module, torch.nn.modules.conv._ConvNd) for module in model.modules()):
        raise _none("the model has no convolution")
    if next(model.parameters()).device.type != "cuda":
        raise _none("cuDNN computes on a GPU only")


def _attention(name: str, _torch: Any, model: Any) -> None:
    used = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if used is None:
        raise _none("the model says nothing of its attention, as models of Transformers do")
    if used == name:
        raise _none(f"{name} attention is used already")
    try:
        model.set_attn_implementation(name)
    except (ValueError, ImportError) as error:
        raise _none(f"{type(model).__name__} has no {name} attention ({error})") from error


def _checkpointing(torch: Any, model: Any) -> None:
    """Compute each block's activations again in the backward pass instead of keeping them."""
    if hasattr(model, "gradient_checkpointing_enable"):
        try:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as error:
            raise _none(f"{type(model).__name__} supports no gradient checkpointing ({error})") from error
        return
    from torch.utils.checkpoint import checkpoint

    blocks = _blocks(torch, model)
    if not blocks:
        raise _none("the model has no list of repeated blocks (ModuleList or Sequential) to checkpoint")
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _blocks(torch: Any, model: Any) -> list[Any]:
    """Find the list of modules that holds most parameters, if it has two that have any."""
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList | torch.nn.Sequential)]
    found = [[part for part in parts if any(True for _ in part.parameters())] for parts in lists]
    size: Callable[[list[Any]], int] = lambda parts: sum(p.numel() for part in parts for p in part.parameters())  # noqa: E731
    return max((parts for parts in found if len(parts) > 1), key=size, default=[])


_OF_MODEL: Final[dict[str, Callable[[Any, Any], None]]] = {
    "channels-last": _channels_last,
    "cudnn-benchmark": _cudnn_benchmark,
    "sdpa-attention": partial(_attention, "sdpa"),
    "eager-attention": partial(_attention, "eager"),
    "checkpointing": _checkpointing,
}
"""Switch → what throws it."""
