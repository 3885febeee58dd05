"""How long a run is, in images and batches."""

from dataclasses import dataclass

from cae.errors import UserError


@dataclass
class Schedule:
    """How long a run is. `batch_size` images a step, over all devices; the last, smaller batch of an epoch is dropped."""

    images: int
    batch_size: int
    micro_batch: int
    epochs: int
    devices: int = 1
    limit: int | None = None  # of steps, where that and not whole epochs is how long a run is

    def __post_init__(self):
        if self.images < self.batch_size:
            raise UserError(
                f"batch_size {self.batch_size} is above the {self.images} training images; lower it in params"
            )
        if self.batch_size % (self.micro_batch * self.devices):
            raise UserError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch} x {self.devices} devices"
            )

    @property
    def steps_per_epoch(self) -> int:
        return self.images // self.batch_size

    @property
    def steps(self) -> int:
        return self.limit or self.epochs * self.steps_per_epoch

    @property
    def accumulate(self) -> int:
        return self.batch_size // (self.micro_batch * self.devices)
