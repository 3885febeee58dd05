"""What recipes of training over a pretrained encoder share."""

from typing import ClassVar

from pydantic import model_validator

from cae.params.strict import Pair, Positive, Strict, refusal


class Downstream(Strict):
    step: ClassVar[str]  # whose `resources` it runs on

    batch_size: Positive
    micro_batch: Positive
    betas: Pair
    weight_decay: float

    @model_validator(mode="after")
    def batches_of_whole_passes(self):
        if self.batch_size % self.micro_batch:
            raise refusal(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        return self
