"""Probing heads: what is trained, what is fixed, and the statistics they use."""

import pytest
import torch
import torch.nn.functional as F

from cae.models.probes import AttentiveProbe, LinearProbe


def test_attentive_probe_has_the_public_codes_parameters():
    probe = AttentiveProbe(768, 12, 1000)
    count = sum(p.numel() for p in probe.parameters())
    # 4 D^2 projections, biases of q, v and output, three LayerNorms, the query, the classifier
    assert count == 4 * 768**2 + 3 * 768 + 6 * 768 + 768 + 768 * 1000 + 1000
    assert round((count - 769 * 1000) / 1e6, 2) == 2.37


def test_linear_probe_reads_the_class_token_alone():
    probe = LinearProbe(8, 3).eval()
    tokens = torch.randn(4, 5, 8)
    other = torch.cat([tokens[:, :1], torch.randn(4, 4, 8)], 1)
    torch.testing.assert_close(probe(tokens), probe(other))


def test_attentive_probe_does_not_care_about_the_order_of_patches():
    probe = AttentiveProbe(8, 2, 3).eval()
    tokens = torch.randn(4, 5, 8)
    torch.testing.assert_close(probe(tokens), probe(tokens[:, torch.randperm(5)]))


def test_attentive_probe_by_hand():
    torch.manual_seed(0)
    probe = AttentiveProbe(8, 1, 3).eval()
    torch.nn.init.normal_(probe.query)
    x = torch.randn(1, 5, 8)
    logits = probe.q(probe.norm_q(probe.query)) @ probe.k(probe.norm_k(x)).transpose(1, 2) / 8**0.5
    pooled = probe.proj(logits.softmax(-1) @ probe.v(probe.norm_v(x)))[:, 0]
    torch.testing.assert_close(probe(x), probe.head(pooled / (1 + 1e-5) ** 0.5))


def test_attention_of_the_probe_is_what_forward_weighs_its_values_by():
    torch.manual_seed(0)
    probe, x = AttentiveProbe(8, 1, 3).eval(), torch.randn(2, 5, 8)
    torch.nn.init.normal_(probe.query)
    weights = probe.attention(x)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    pooled = probe.proj(weights[:, None] @ probe.v(probe.norm_v(x)))
    torch.testing.assert_close(probe(x), probe.head(probe.norm(pooled[:, 0])))


def test_attention_of_the_probe_is_a_mean_over_heads():
    """As torch's own, with q, k and v as they come."""
    torch.manual_seed(0)
    probe, x = AttentiveProbe(8, 4, 3, 0.5).eval(), torch.randn(2, 5, 8)
    torch.nn.init.normal_(probe.query)
    torchs = torch.nn.MultiheadAttention(8, 4, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
        torchs.in_proj_bias.zero_()
    query, keys = probe.q(probe.norm_q(probe.query)).expand(2, -1, -1), probe.k(probe.norm_k(x))
    torch.testing.assert_close(probe.attention(x), torchs(query, keys, keys)[1][:, 0])


@pytest.mark.parametrize("probe", [LinearProbe(8, 3), AttentiveProbe(8, 2, 3)])
def test_validation_uses_running_statistics(probe):
    """One image's logits do not depend on the batch it comes with, and validation leaves the statistics alone."""
    torch.manual_seed(0)
    torch.nn.init.normal_(probe.head.weight)
    if hasattr(probe, "query"):
        torch.nn.init.normal_(probe.query)
    tokens = torch.randn(64, 5, 8) * 3 + 1
    for _ in range(5):
        F.cross_entropy(probe.train()(tokens), torch.zeros(64, dtype=torch.long)).backward()
    before = probe.norm.running_mean.clone()
    probe.eval()
    torch.testing.assert_close(probe(tokens)[:1], probe(tokens[:1]))
    torch.testing.assert_close(probe.norm.running_mean, before)
    assert not torch.allclose(probe.train()(tokens[:2])[:1], probe.eval()(tokens[:1]))
