"""The model card beside a pretrained encoder: its config.json, for a reader."""

from collections import Counter


def card(config: dict) -> str:
    """The model card (Markdown) of a config.json; what a reader should know comes from there and nowhere else."""
    p, a, image = config["params"], config["arguments"], config["input"]
    released = p["source"] == "released"
    what = {
        "method": p["method"],
        "architecture": f"timm `{config['architecture']}`: width {a['embed_dim']}, {a['depth']} blocks, {a['num_heads']} "
        f"heads, {a['patch_size']} x {a['patch_size']} patches; {config['parameters'] / 1e6:.1f} M parameters",
        "head": f"a linear classifier of {a['num_classes']} classes" if a["num_classes"] else "none",
        "input": f"RGB, {image['size']} x {image['size']}; values in [0, 1], less {_list(image['mean'])}, "
        f"over {_list(image['std'])}",
        "epochs": p["epochs"] or "0: as initialised",
        "source": f"released: `{config['file']}`, sha256 `{config['sha256']}`, from {config['page']}"
        if released
        else "trained by this project",
        "data": "as released" if released else f"{config.get('images', 0)} images seen, of the data set with the "
        f"fingerprint `{config.get('dataset')}`",
        "tokenizer": _tokenizer(config),
        "revision of the code": f"`{config['revision']}`",
        "licence of the weights": "that of the original release" if released else None,
    }  # fmt: skip
    parts = [f"# {config['model']}", _table("", "", what), *config.get("notes", []), "## Load", LOAD]
    if released:
        parts += ["## Recipe", f"As released: {config['page']}.", "## Left out of the file",
                  f"{grouped(config['dropped'])}. Each name is in config.json, `dropped`."]  # fmt: skip
    elif p["epochs"]:
        shown = {"method", "source", "file", "sha256", "epochs", "image", "width", "depth", "heads", "tokenizer"}
        recipe = {name: value for name, value in p.items() if name not in shown and value is not None}
        parts += ["## Recipe", _table("params", "", recipe)]
    return "\n\n".join(parts) + "\n"


LOAD = """```python
import json, timm
config = json.load(open("config.json"))
encoder = timm.create_model(config["architecture"], checkpoint_path="encoder.safetensors", **config["arguments"]).eval()
```"""


def grouped(names: list[str]) -> str:
    """Names of tensors by their first part: "decoder_blocks (96), mask_token"."""
    counts = Counter(name.split(".")[0] for name in names)
    return ", ".join(f"{group} ({n})" if n > 1 else group for group, n in counts.items()) or "nothing"


def _tokenizer(config: dict) -> str | None:
    """The tokenizer whose tokens the model learned to predict; None where there is none."""
    p = config["params"]
    if "tokenizer" not in p or p.get("target", "tokens") != "tokens" or not p["epochs"]:
        return None
    words = [p["tokenizer"]]
    if config.get("outputs"):
        words.append(f"{config['outputs']} tokens")
    words.append(f"sha256 `{config['tokenizer']}`" if "tokenizer" in config else "as params say")
    return ", ".join(words)


def _table(left: str, right: str, rows: dict) -> str:
    lines = [f"| {left} | {right} |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {_cell(value)} |" for name, value in rows.items() if value is not None])


def _cell(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    return _list(value) if isinstance(value, (list, tuple)) else str(value)


def _list(values) -> str:
    return f"({', '.join(str(value) for value in values)})"
