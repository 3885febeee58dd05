"""`resources`: what each step may ask of a machine; and, of those that train, on how many such machines at once."""

from cae.params.strict import NonNegative, Positive, Strict


class Resources(Strict):
    """Of each node."""

    threads: Positive
    mem_mb: Positive
    runtime: Positive  # minutes
    gpus: NonNegative = 0

    @property
    def processes(self) -> int:
        """One for each GPU; on a CPU one."""
        return max(1, self.gpus)


class ManyNodes(Resources):
    nodes: Positive = 1

    @property
    def devices(self) -> int:
        """Processes that share a batch."""
        return self.nodes * self.processes


class Training(ManyNodes):
    recompute: bool = (
        False  # activations of transformer blocks are computed twice instead of kept: same results, less memory
    )


class AllResources(Strict):
    index: Resources
    tokenizer: ManyNodes
    tokens: Resources
    pretrain: Training
    probe: Resources
    finetune: Training
    segment: Training
    detect: Training
    analyze: Resources
    report: Resources
