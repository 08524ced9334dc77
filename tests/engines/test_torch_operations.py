import pytest


def test_a_step_is_recorded_with_its_flops_and_bytes() -> None:
    """A linear layer's products and traffic by hand, on tensors that hold nothing; a view launches nothing."""
    torch = pytest.importorskip("torch")
    from rtxbench.engines.torch.operations import autocast, fake_tensors, recorded_step

    with fake_tensors():
        weights = torch.randn(10**5, 4096)  # 1.6 GB that nobody allocates
        inputs = torch.randn(8, 4096)

        def step() -> None:
            with autocast("full"):
                torch.relu(inputs @ weights.t())

        product, relu = recorded_step(step)
    assert (product.kind, product.is_half) == ("gemm", False)
    assert product.flops == 2 * 8 * 4096 * 10**5
    assert product.moved_bytes == 4 * (8 * 4096 + 4096 * 10**5 + 8 * 10**5)
    assert (relu.kind, relu.moved_bytes) == ("memory", 4 * 2 * 8 * 10**5)
