"""Checkpoints: what is refused on reading."""

import pytest
import torch

from cae.errors import UserError
from cae.training.run import load_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "state.ckpt"
    torch.manual_seed(0)
    torch.save({"model": {"weight": torch.randn(20, 20)}, "rows": [{"loss": 2.5, "step": 3}], "finished": False}, path)
    return path


def test_a_damaged_checkpoint_is_refused_by_name(checkpoint):
    whole = checkpoint.read_bytes()
    for content in (b"", whole[:100], whole[:-1], b"none"):
        checkpoint.write_bytes(content)
        with pytest.raises(UserError, match=r"state\.ckpt: not a readable checkpoint .*; delete it and run"):
            load_checkpoint(checkpoint)
    checkpoint.unlink()
    with pytest.raises(UserError, match=r"state\.ckpt: no such checkpoint"):
        load_checkpoint(checkpoint)


def test_no_flipped_bit_loads_as_another_state(checkpoint):
    whole, state = checkpoint.read_bytes(), load_checkpoint(checkpoint)
    weights = whole.index(state["model"]["weight"].numpy().tobytes())
    loaded = 0
    for place in [*range(0, len(whole), 5), *range(weights, weights + 1600, 7)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        checkpoint.write_bytes(changed)
        try:
            again = load_checkpoint(checkpoint)
        except UserError as error:
            assert "not a readable checkpoint" in str(error)
        else:  # padding
            loaded += 1
            assert torch.equal(again.pop("model")["weight"], state["model"]["weight"])
            assert again == {key: value for key, value in state.items() if key != "model"}
            assert not weights <= place < weights + 1600
    assert loaded
