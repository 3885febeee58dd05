"""The d-VAE and the token cache: sizes, training, and the refusal of what does not belong together."""

import json
import shutil

import numpy as np
import pytest
import torch

from cae.errors import UserError
from cae.params import DVAE
from cae.tokenizers import cache, store
from cae.tokenizers.dvae import DiscreteVAE

PAPER_DVAE = DVAE(
    kind="dvae", source="built", input_size=112, vocabulary=8192, width=256, codebook_dim=512, layers=3, blocks=2,
    epochs=1, batch_size=1, lr=1e-3, temperature=[1.0, 0.1], usage_weight=0.01,
)  # fmt: skip


def test_discrete_vae_has_beits_encoder():
    with torch.device("meta"):
        tokenizer = DiscreteVAE(PAPER_DVAE, 14)
        assert tokenizer.tokens(torch.empty(1, 112, 112, 3, dtype=torch.uint8)).shape == (1, 14, 14)
        assert tokenizer.decode(torch.zeros(1, 14, 14, dtype=torch.long)).shape == (1, 3, 112, 112)
    assert round(sum(p.numel() for p in tokenizer.encoder.parameters()) / 1e6, 1) == pytest.approx(6.7, abs=0.11)


@pytest.mark.parametrize("layers,size", [(0, 48), (1, 48), (2, 24), (3, 48)])
def test_grid_is_met_by_halving_and_patches(layers, size):
    params = PAPER_DVAE.model_copy(
        update={"input_size": size, "layers": layers, "vocabulary": 16, "width": 8, "codebook_dim": 4}
    )
    tokenizer = DiscreteVAE(params, 6)
    pixels = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    tokens = tokenizer.tokens(pixels)
    assert tokens.shape == (2, 6, 6) and tokenizer.decode(tokens).shape == (2, 3, size, size)


def test_discrete_vae_learns_to_reconstruct_and_uses_its_codes():
    torch.manual_seed(0)
    params = PAPER_DVAE.model_copy(
        update={"input_size": 8, "layers": 0, "blocks": 0, "vocabulary": 8, "width": 16, "codebook_dim": 8}
    )
    tokenizer = DiscreteVAE(params, 4)
    colours = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 255]], dtype=torch.uint8)
    pixels = colours[torch.randint(0, 4, (64, 4, 4))].repeat_interleave(2, 1).repeat_interleave(2, 2)
    optimizer = torch.optim.Adam(tokenizer.parameters(), 0.01)
    first = None
    for i in range(300):
        terms = tokenizer({"pixels": pixels, "progress": i / 300})
        first = first or terms["reconstruction"].item()
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    assert terms["reconstruction"] < 0.1 * first
    tokens = tokenizer.tokens(pixels)
    assert len(tokens.unique()) >= 4
    error = (tokenizer.decode(tokens) - tokenizer.scale(pixels)).square().mean()
    assert error < 0.1 * first


def test_usage_term_is_zero_for_uniform_codes_and_ln_v_for_one_code():
    params = PAPER_DVAE.model_copy(
        update={"input_size": 8, "layers": 0, "blocks": 0, "vocabulary": 8, "width": 4, "codebook_dim": 4}
    )
    tokenizer = DiscreteVAE(params, 4)
    pixels = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    last = tokenizer.encoder[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    assert tokenizer({"pixels": pixels, "progress": 0.0})["usage"].item() == pytest.approx(0, abs=1e-5)
    last.bias.data[3] = 50
    terms = tokenizer({"pixels": pixels, "progress": 0.0})
    assert terms["usage"].item() == pytest.approx(np.log(8), abs=1e-4) and terms["perplexity"].item() == pytest.approx(
        1
    )


def test_weights_of_another_tokenizer_are_refused(tokenizer, tmp_path):
    folder = tmp_path / "dvae"
    shutil.copytree(tokenizer, folder)
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(UserError, match="not the weights that .*tokenizer.json describes"):
        store.load(folder)


BELONGS = {"dataset": "d", "tokenizer": "t", "input_size": 48, "seed": 0, "view": {"views": 2}}


@pytest.fixture
def small_cache(tmp_path):
    np.save(tmp_path / "1.npy", np.zeros((3, 2, 4, 4), np.uint16))
    np.save(tmp_path / "2.npy", np.ones((2, 2, 4, 4), np.uint16))
    cache.list_shards([tmp_path / "1.npy", tmp_path / "2.npy"], tmp_path / "tokens", (5, 2, 4, 4), BELONGS)
    return tmp_path / "tokens"


def test_shards_are_one_array(tmp_path):
    whole = np.random.default_rng(0).integers(0, 8192, (11, 3, 4, 4)).astype(np.uint16)
    for cuts in ([11], [4, 7], [1, 9, 1]):
        paths = [tmp_path / f"{k}.npy" for k in range(len(cuts))]
        for path, part in zip(paths, np.split(whole, np.cumsum(cuts)[:-1])):
            np.save(path, part)
        cache.list_shards(paths, tmp_path / f"of-{len(cuts)}", whole.shape, BELONGS)
        tokens = cache.open_cache(tmp_path / f"of-{len(cuts)}", whole.shape, BELONGS)
        for indices in (np.arange(11), np.array([10, 0, 3, 4, 4]), np.array([7])):
            for view in range(3):
                np.testing.assert_array_equal(tokens[indices, view], whole[indices, view])
    manifests = {(tmp_path / f"of-{n}/manifest.json").read_text() for n in (1, 2, 3)}
    assert len(manifests) == 1  # training anew is no consequence of another cut


def test_a_folder_of_a_cache_may_move(small_cache, tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("1.npy", "2.npy", "tokens"):
        (tmp_path / name).rename(tmp_path / "there" / name)
    assert cache.open_cache(tmp_path / "there/tokens", (5, 2, 4, 4), BELONGS)[np.array([0, 4]), 1].tolist() == [
        np.zeros((4, 4)).tolist(), np.ones((4, 4)).tolist()
    ]  # fmt: skip


def test_rows_are_read_without_those_around_them(small_cache):
    """The mapping has Linux's flag of random reading."""
    tokens = cache.open_cache(small_cache, (5, 2, 4, 4), BELONGS)
    with open("/proc/self/smaps") as maps:
        said = maps.read()
    for shard in tokens.shards:
        of_file = said.split(str(shard.filename))[1]
        assert "rr" in of_file.split("VmFlags:")[1].splitlines()[0].split()


def test_manifest_changes_with_the_tokens(small_cache, tmp_path):
    """What waits for a cache reads its manifest alone."""
    before = json.loads((small_cache / "manifest.json").read_text())
    np.save(tmp_path / "2.npy", np.full((2, 2, 4, 4), 2, np.uint16))
    cache.list_shards([tmp_path / "1.npy", tmp_path / "2.npy"], small_cache, (5, 2, 4, 4), BELONGS)
    after = json.loads((small_cache / "manifest.json").read_text())
    assert before.pop("sample") != after.pop("sample") and before == after


def test_a_missing_shard_is_noticed(tmp_path):
    np.save(tmp_path / "1.npy", np.zeros((3, 2, 4, 4), np.uint16))
    with pytest.raises(
        UserError, match=r"the shards hold \(3, 2, 4, 4\), the data set has \(5, 2, 4, 4\); make them again"
    ):
        cache.list_shards([tmp_path / "1.npy"], tmp_path / "tokens", (5, 2, 4, 4), BELONGS)
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    "key,value", [("dataset", "x"), ("tokenizer", "x"), ("input_size", 24), ("seed", 1), ("view", {"views": 3})]
)
def test_cache_that_belongs_elsewhere_is_refused(small_cache, key, value):
    with pytest.raises(UserError, match=f"manifest.json: {key} is .*, this run has .*delete"):
        cache.open_cache(small_cache, (5, 2, 4, 4), {**BELONGS, key: value})


def test_truncated_cache_is_refused(small_cache):
    path = small_cache.parent / "2.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="2.npy: not a readable token cache"):
        cache.open_cache(small_cache, (5, 2, 4, 4), BELONGS)
    np.save(path, np.ones((1, 2, 4, 4), np.uint16))
    with pytest.raises(UserError, match=r"the shards hold \(4, 2, 4, 4\), their manifest says \(5, 2, 4, 4\)"):
        cache.open_cache(small_cache, (5, 2, 4, 4), BELONGS)
    np.save(path, np.ones((2, 2, 4, 4)))
    with pytest.raises(UserError, match="2.npy: float64 is not a token cache's uint16"):
        cache.open_cache(small_cache, (5, 2, 4, 4), BELONGS)


def test_no_room_is_said_before_work(tmp_path):
    with pytest.raises(UserError, match="tokens.npy: no room for .* GB"):
        cache.create(tmp_path / "tokens.npy", (10**6, 10**5, 14, 14))


def test_pretraining_refuses_a_cache_of_another_seed(run, tiny, data, tokenizer, tokens, tmp_path):
    job = tiny.pretraining("cae-b-300").model_copy(update={"seed": 1}).model_dump_json()
    with pytest.raises(SystemExit, match="seed is 0, this run has 1"):
        run("pretrain", "--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens, "--params", job,
            "--work", tmp_path / "w", "--output", tmp_path / "o")  # fmt: skip


def test_interrupted_tokenising_goes_on_and_ends_the_same(run, tiny, data, tokenizer, tokens, tmp_path, monkeypatch):
    from cae.data.datasets import Images
    from cae.tasks import tokenize

    monkeypatch.setattr(tokenize, "CHUNK", 8)
    monkeypatch.setattr(tokenize, "SAVE_EVERY", 2)
    read, calls = Images.pixels, []

    def fail_once(self, i):
        calls.append(i)
        if len(calls) == 50:
            raise KeyboardInterrupt
        return read(self, i)

    monkeypatch.setattr(Images, "pixels", fail_once)
    job = json.dumps({"seed": 0, "view": tiny.view.model_dump(), "image": tiny.image.model_dump()})
    command = ["tokenize", "--data", data["imagenet"], "--tokenizer", tokenizer, "--params", job, "--shard", "1/1",
               "--work", tmp_path / "w", "--output", tmp_path / "all.npy"]  # fmt: skip
    with pytest.raises(SystemExit, match="interrupted"):
        run(*command)
    assert not (tmp_path / "all.npy").exists()
    run(*command)
    assert len(calls) < 128 + 25  # what was saved is not made again
    whole = np.concatenate([np.load(tokens / "shards" / f"{k}.npy") for k in (1, 2)])
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), whole)
