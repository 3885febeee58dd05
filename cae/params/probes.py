"""`probes`: linear and attentive probing."""

from typing import Literal

from pydantic import model_validator

from cae.params.data import Crop
from cae.params.strict import NonNegative, Positive, Strict, refusal


class Probe(Strict):
    batch_size: Positive
    lr: float
    min_lr: float


class AttentiveProbe(Probe):
    init_std: float
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
    def divisible(self):
        for name in ("linear", "attentive"):
            if (batch := getattr(self, name).batch_size) % self.micro_batch:
                raise refusal(f"{batch} is not a multiple of micro_batch {self.micro_batch}", name, "batch_size")
        return self
