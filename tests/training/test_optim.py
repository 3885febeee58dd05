import pytest
import torch

from cae.methods.cae import CAE
from cae.training.optim import adamw, warmup_cosine

PAPER = dict(steps=1000, warmup=100, lr=1.5e-3, min_lr=1e-5)


@pytest.mark.parametrize("step,lr", [(0, 0.0), (50, 7.5e-4), (100, 1.5e-3), (550, (1.5e-3 + 1e-5) / 2), (1000, 1e-5)])
def test_warmup_is_linear_and_decay_a_half_cosine(step, lr):
    assert warmup_cosine(step, **PAPER) == pytest.approx(lr)


def test_learning_rate_without_warmup_starts_at_its_peak():
    assert warmup_cosine(0, steps=10, warmup=0, lr=1.0, min_lr=0.0) == 1.0


def test_biases_and_norms_are_not_decayed_but_tokens_are(tiny):
    model = CAE(tiny.pretraining("cae-b-300"), 32)
    decayed, plain = adamw(model, lr=1.0, betas=[0.9, 0.999], weight_decay=0.05).param_groups
    assert decayed["weight_decay"] == 0.05 and plain["weight_decay"] == 0
    ids = {id(p) for p in decayed["params"]}
    assert id(model.mask_query) in ids and id(model.encoder.cls_token) in ids
    assert all(p.ndim == 1 for p in plain["params"])
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(decayed["params"]) + len(plain["params"]) == len(trained)
    assert id(model.encoder.pos_embed) not in ids


def test_fused_adamw_agrees_with_the_plain_one():
    torch.manual_seed(0)
    models = [torch.nn.Linear(5, 5) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    ours = adamw(models[0], lr=0.1, betas=[0.9, 0.98], weight_decay=0.0)
    theirs = torch.optim.AdamW(models[1].parameters(), lr=0.1, betas=(0.9, 0.98), weight_decay=0.0, foreach=False)
    for _ in range(5):
        x = torch.randn(3, 5)
        for model, optimizer in zip(models, (ours, theirs)):
            model(x).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(models[0].weight, models[1].weight)
