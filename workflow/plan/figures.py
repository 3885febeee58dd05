"""The report's figures: what each needs of a scale, and what it is drawn from."""

from typing import NamedTuple

from cae.params import Params


class Figure(NamedTuple):
    dataset: str | None  # that it needs
    models: list[str]  # that it needs, and shows
    files: list[str]  # that it is drawn from, below results/<scale>/
    protocol: str | None = None  # by which one of its models must be evaluated


def figures(params: Params) -> dict[str, Figure]:
    """A figure a line, in the order of the page. Panels show those of their models that the scale has."""

    def analysed(name: str, dataset: str, models: list[str]) -> Figure:
        return Figure(dataset, models, [f"analyze/{name}.npz"])

    def panel(protocol: str, dataset: str) -> Figure:
        here = [model for model in params.panels if params.models[model] is not None] or params.panels
        models = [model for model in here if params.evaluated(model, protocol)] or here
        return Figure(dataset, models, [f"{protocol}/{model}/examples.npz" for model in models], protocol)

    def curves() -> Figure:
        models = [model for model in params.curves if params.models[model] is not None]
        files = [
            f"{folder}/{each}{file}"
            for model in models
            for each in params.seeded(model)
            for folder, file in (
                ("evaluate/linear", ".json"),
                ("evaluate/attentive", ".json"),
                ("pretrain", "/provenance.json"),
            )
        ]
        return Figure("imagenet", models or params.curves, files)

    a, drawing = params.analyses, Figure(None, [], [])
    return {
        "segmentation": panel("ade20k", "ade20k"),
        "detection": panel("coco-mask", "coco"),
        "figure1": drawing,
        "figure2": drawing,
        "figure3": analysed("figure3", "imagenet", []),
        "figure4": analysed("figure4", "imagenet", a.figure4.models),
        "figure5": analysed("figure5", "ade20k", a.figure5.models),
        "figure6": analysed("figure6", "imagenet", a.figure6.models),
        "figure7": analysed("figure7", "imagenet", a.figure7.models),
        "figure8": drawing,
        "figure9": analysed("figure9", "imagenet", a.figure9.models),
        "epochs": curves(),
    }
