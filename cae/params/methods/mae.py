"""MAE's params."""

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from cae.params.models import MaskedPretraining
from cae.params.recipes import MaskedRecipe
from cae.params.strict import Positive, refusal


class MAERecipe(MaskedRecipe):
    decoder_width: Positive
    decoder_depth: Positive
    decoder_heads: Positive
    target: Literal["tokens", "pixels"] = "pixels"
    normalise_targets: bool  # of pixels: each patch by its own mean and variance
    tokenizer: str | None = None  # of tokens


class MAEModel(MaskedPretraining, MAERecipe):
    title: ClassVar = "MAE"
    has_releases: ClassVar = True
    usual_target: ClassVar = "pixels"
    later: ClassVar = {"target": "pixels", "tokenizer": None}

    method: Literal["mae"]

    @model_validator(mode="before")
    @classmethod
    def drop_an_unused_tokenizer(cls, data: Any) -> Any:
        """So that another tokenizer in the recipe trains no MAE of pixels again."""
        unused = isinstance(data, dict) and data.get("target", "pixels") == "pixels"
        return {key: value for key, value in data.items() if key != "tokenizer"} if unused else data

    @model_validator(mode="after")
    def tokens_have_a_tokenizer(self):
        if self.target == "tokens" and not self.tokenizer:
            raise refusal("`target: tokens` needs one; name one of `tokenizers`", "tokenizer")
        return self

    @model_validator(mode="after")
    def decoder_fits(self):
        if self.decoder_width % self.decoder_heads or self.decoder_width % 4:
            raise refusal(
                f"decoder_width {self.decoder_width} is not a multiple of 4 and of decoder_heads {self.decoder_heads}"
            )
        return self


recipe, model = MAERecipe, MAEModel
