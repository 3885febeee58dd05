"""The model card beside an encoder or classifier: its config.json and provenance.json, for a reader and for the hub."""

from collections import Counter


def card(config: dict, provenance: dict) -> str:
    """README.md; what a reader should know comes from these two files and nowhere else.

    The header names no licence: that of weights trained here is their owner's to choose, that of others to look up.
    """
    about, p, a, data = provenance, provenance["params"], config["model_args"], config["pretrained_cfg"]
    released = p.get("source") == "released"
    task = "image-classification" if a["num_classes"] else "image-feature-extraction"
    what = {
        "method": p.get("method") or f"fine-tuned from {about['model']} ({about['protocol']})",
        "architecture": f"timm `{config['architecture']}`: width {a['embed_dim']}, {a['depth']} blocks, {a['num_heads']} "
        f"heads, {a['patch_size']} x {a['patch_size']} patches; {about['parameters'] / 1e6:.1f} M parameters",
        "head": f"a linear classifier of {a['num_classes']} classes" if a["num_classes"] else "none",
        "input": f"RGB, {data['input_size'][1]} x {data['input_size'][2]}; values in [0, 1], less {_list(data['mean'])}, "
        f"over {_list(data['std'])}",
        "epochs": p["epochs"] or "0: as initialised",
        "source": f"released: `{about['file']}`, sha256 `{about['sha256']}`, from {about['page']}"
        if released
        else "trained by this project" if p["epochs"] else "first weights, drawn by this project",
        "data": "as released" if released else _data(about),
        "tokenizer": _tokenizer(about),
        "revision of the code": f"`{about['revision']}`",
        "licence of the weights": "that of the original release" if released else None,
    }  # fmt: skip
    header = f"---\nlibrary_name: timm\npipeline_tag: {task}\ntags:\n- timm\n- {task}\n---"
    parts = [
        header,
        f"# {about['model']}",
        _table("", "", what),
        *about.get("notes", []),
        "## Load",
        LOAD,
        *pooling(config),
    ]
    if released:
        parts += ["## Recipe", f"As released: {about['page']}.", "## In the file and not here",
                  f"{grouped(about['dropped'])}: what is not needed, or is computed. Each name is in "
                  "provenance.json, `dropped`."]  # fmt: skip
    elif p["epochs"]:
        shown = {"method", "source", "file", "sha256", "epochs", "image", "width", "depth", "heads", "tokenizer"}
        recipe = {name: value for name, value in p.items() if name not in shown and value is not None}
        parts += ["## Recipe", _table("params", "", recipe)]
    return "\n\n".join(parts) + "\n"


def _data(about: dict) -> str | None:
    """Return how many images of which data set were seen; None where nothing was trained."""
    seen = f"{about.get('images', 0)} images seen, of the data set with the fingerprint `{about.get('dataset')}`"
    return seen if about["params"]["epochs"] else None


LOAD = """```python
import timm
model = timm.create_model("local-dir:.", pretrained=True).eval()  # of this folder; or "hf-hub:<user>/<name>"
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
```"""


def pooling(config: dict) -> list[str]:
    """Paragraphs on what the loaded model makes of its tokens, and how to get another pooling without untrained weights.

    timm moves the last norm behind a mean of patches (`fc_norm`) unless an argument forbids it, and then lacks its weights.
    """
    if config["global_pool"] == "avg":
        return [
            "`model` averages the patches and normalises their mean (`fc_norm`), as it was trained. With "
            '`global_pool="token"` timm looks for another norm (`norm`), which this file does not have.'
        ]
    forbid = "use_fc_norm" if config["architecture"].startswith("beit_") else "fc_norm"
    line = f'model = timm.create_model("local-dir:.", pretrained=True, global_pool="avg", {forbid}=False).eval()'
    return [
        "`model` takes the class token, after the last norm (`norm`). To take the mean of the patches, after the same norm:",
        f"```python\n{line}\n```",
        f'With `global_pool="avg"` and without `{forbid}=False` timm looks for another norm (`fc_norm`), which this file does '
        "not have: loading ends in missing keys.",
    ]


def grouped(names: list[str]) -> str:
    """Names of tensors by their first part, where several have it: "decoder_blocks (96), mask_token"."""
    counts = Counter(name.split(".")[0] for name in names)
    shown = dict.fromkeys(f"{part} ({n})" if (n := counts[part := name.split(".")[0]]) > 1 else name for name in names)
    return ", ".join(shown) or "nothing"


def _tokenizer(about: dict) -> str | None:
    """The tokenizer whose tokens the model learned to predict; None where there is none."""
    p = about["params"]
    if "tokenizer" not in p or p.get("target", "tokens") != "tokens" or not p["epochs"]:
        return None
    words = [p["tokenizer"]]
    if about.get("outputs"):
        words.append(f"{about['outputs']} tokens")
    words.append(f"sha256 `{about['tokenizer']}`" if "tokenizer" in about else "as params say")
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
