import pytest
import torch

from cae.models.cae import CAE
from cae.training.cpu import OneDNNLinear, use_onednn


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 12), (3, 5, 12), (1, 12)])
def test_outputs_and_gradients_are_those_of_a_plain_linear_layer(bias, shape):
    torch.manual_seed(0)
    plain = torch.nn.Linear(12, 9, bias=bias)
    fast = torch.nn.Linear(12, 9, bias=bias)
    fast.load_state_dict(plain.state_dict())
    use_onednn(fast)
    assert type(fast) is OneDNNLinear
    x = torch.randn(shape).requires_grad_()
    gradients = []
    for layer in (plain, fast):
        out = layer(x)
        gradients.append((out, *torch.autograd.grad(out.sin().sum(), [x, *layer.parameters()])))
    for expected, got in zip(*gradients):
        torch.testing.assert_close(got, expected)


def test_transposed_inputs_and_gradients_are_understood():
    layer = torch.nn.Linear(4, 6)
    x = torch.randn(4, 5).t().requires_grad_()
    expected = torch.autograd.grad((layer(x).t() * torch.arange(5.0)).sum(), [x, layer.weight])
    use_onednn(layer)
    got = torch.autograd.grad((layer(x).t() * torch.arange(5.0)).sum(), [x, layer.weight])
    for a, b in zip(expected, got):
        torch.testing.assert_close(b, a)


def test_a_whole_model_keeps_its_parameters_and_its_loss(tiny):
    from tests.models.test_cae import batch

    params = tiny.pretraining("cae-b-300").model_copy(update={"drop_path": 0.0})
    torch.manual_seed(0)
    model = CAE(params, 32)
    data, names = batch(params, vocabulary=32), list(model.state_dict())
    before = model(data)["loss"]
    use_onednn(model)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(data)["loss"], before)
