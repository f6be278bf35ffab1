"""Linear layers by oneDNN beside PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clipn import products
from clipn.products import is_onednn_faster, linear

needs_onednn = pytest.mark.skipif(
    not is_onednn_faster(), reason="this processor or build leaves float32 products to MKL"
)


@pytest.fixture
def everything_to_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MIN_SIZE", 0)


@needs_onednn
@pytest.mark.usefixtures("everything_to_onednn")
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 8), (3, 7, 8), (1, 1), (130, 70)])
def test_outcome_and_gradients_are_those_of_pytorch(shape: tuple[int, ...], has_bias: bool):
    x = torch.randn(shape, requires_grad=True)
    weight = torch.randn(6, shape[-1], requires_grad=True)
    inputs = [x, weight, *([torch.randn(6, requires_grad=True)] if has_bias else [])]
    outcomes = [function(*inputs) for function in (linear, F.linear)]
    assert type(outcomes[0].grad_fn).__name__ == "_OneDnnLinearBackward"
    torch.testing.assert_close(*outcomes, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(outcomes[0])
    found, expected = (torch.autograd.grad((y * weights).sum(), inputs) for y in outcomes)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


@needs_onednn
@pytest.mark.usefixtures("everything_to_onednn")
@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_a_gradient_is_made_only_where_it_is_asked_for(frozen: int):
    inputs = [torch.randn(4, 3), torch.randn(2, 3), torch.randn(2)]
    for number, tensor in enumerate(inputs):
        tensor.requires_grad_(number != frozen)
    linear(*inputs).sum().backward()
    assert [tensor.grad is None for tensor in inputs] == [number == frozen for number in range(3)]


@needs_onednn
@pytest.mark.usefixtures("everything_to_onednn")
def test_a_part_of_a_matrix_is_taken_as_it_lies_in_memory():
    x, whole = torch.randn(4, 8), torch.randn(9, 8)
    torch.testing.assert_close(linear(x, whole[3:7]), x @ whole[3:7].T, atol=1e-5, rtol=0)
    torch.testing.assert_close(linear(x.T.contiguous().T, whole), x @ whole.T, atol=1e-5, rtol=0)


def of_type(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.ones(64, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_pytorch(dtype: torch.dtype):
    y = linear(*of_type(dtype))
    assert y.dtype == dtype
    assert "OneDnn" not in type(y.grad_fn).__name__


def test_mixed_precision_is_left_to_pytorch():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = linear(*of_type(torch.float32))
    assert y.dtype == torch.bfloat16


@pytest.mark.usefixtures("everything_to_onednn")
def test_an_exported_graph_holds_the_layer_as_pytorch_has_it():
    class Layer(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return linear(x, self.weight, self.bias)

    program = torch.export.export(Layer(8, 6), (torch.randn(5, 8),))
    targets = [str(node.target) for node in program.graph.nodes]
    assert "aten.linear.default" in targets
    assert not any("mkldnn" in target for target in targets)
