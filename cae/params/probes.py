"""`probes`: linear and attentive probing."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cae.params.data import Crop
from cae.params.strict import NonNegative, Positive, Rate, Strict, refusal


class Probe(Strict):
    batch_size: Positive
    lr: Rate
    min_lr: Annotated[float, Field(ge=0)]


class AttentiveProbe(Probe):
    init_std: Rate
    validation_statistics: Literal["running", "batch"]  # of BatchNorm; batch: as the public code, a fault


class Probes(Strict):
    epochs: Positive
    warmup_epochs: NonNegative
    micro_batch: Positive
    views: Positive
    view: Crop
    linear: Probe
    attentive: AttentiveProbe

    @model_validator(mode="after")
    def trainable(self):
        if self.warmup_epochs >= self.epochs:
            raise refusal(f"warmup_epochs {self.warmup_epochs} leaves none of the {self.epochs} epochs")
        for name in ("linear", "attentive"):
            if (batch := getattr(self, name).batch_size) % self.micro_batch:
                raise refusal(f"{batch} is not a multiple of micro_batch {self.micro_batch}", name, "batch_size")
        return self
