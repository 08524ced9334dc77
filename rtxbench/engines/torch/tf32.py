"""PyTorch's switches for TF32."""

from typing import Any

__all__ = ["set_tf32"]


def set_tf32(torch: Any, allowed: bool) -> None:
    """Let float32 products, convolutions and recurrent layers on CUDA round to TF32, or forbid it.

    PyTorch's own default forbids it in products and allows it in the other two. The interface changed in 2.9, where
    setting both forms is an error.
    """
    if hasattr(torch.backends, "fp32_precision"):
        chosen = "tf32" if allowed else "ieee"
        for operations in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            operations.fp32_precision = chosen
    else:
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed
