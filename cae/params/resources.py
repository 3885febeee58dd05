"""`resources`: what each step may ask of a machine."""

from cae.params.strict import NonNegative, Positive, Strict


class Resources(Strict):
    threads: Positive
    mem_mb: Positive
    runtime: Positive  # minutes
    gpus: NonNegative = 0


class AllResources(Strict):
    index: Resources
    tokenizer: Resources
    tokens: Resources
    pretrain: Resources
    probe: Resources
    finetune: Resources
    segment: Resources
    detect: Resources
    analyze: Resources
    report: Resources
