"""Pretrained encoders.

Needs: ImageNet's manifest and, where the targets are tokens, their cache. A run that was stopped goes on from
work/<scale>/pretrain/<model>, which is no output: Snakemake deletes outputs before each attempt.
Makes: results/<scale>/pretrain/<model>/.
Costs: nearly everything. Minutes at the demo scale; in the paper, days of 8 GPUs a model.
"""


rule pretrain:
    input:
        expand(
            "results/{scale}/pretrain/{model}/encoder.safetensors",
            scale=P.scale,
            model=plan.models,
        ),
    localrule: True


rule pretrain_model:
    input:
        data="data/{scale}/imagenet.json",
        targets=lambda w: plan.targets_of(w.model, w.scale),
    output:
        "results/{scale}/pretrain/{model}/encoder.safetensors",
        "results/{scale}/pretrain/{model}/config.json",
        "results/{scale}/pretrain/{model}/last.ckpt",
        "results/{scale}/pretrain/{model}/metrics.jsonl",
    log:
        "work/{scale}/logs/pretrain_model/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/pretrain_model/{model}.tsv"
    threads: P.resources.pretrain.threads
    resources:
        **plan.machine("pretrain"),
    params:
        json=lambda w: plan.json(**P.pretraining(w.model).model_dump()),
        targets=lambda w: plan.target_options(w.model, w.scale),
        code=code_hash("cae.tasks.pretrain"),
    shell:
        "python -m cae pretrain --data {input.data} {params.targets} --params {params.json:q}"
        " --threads {threads} --gpus {resources.gpu} --work work/{wildcards.scale}/pretrain/{wildcards.model}"
        " --code {params.code} --output results/{wildcards.scale}/pretrain/{wildcards.model}"
        " 2>&1 | (trap '' TERM; tee {log})"
