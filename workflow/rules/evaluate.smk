"""Evaluations of frozen encoders: the cells of the tables.

Needs: a pretrained encoder, ImageNet's manifest.
Makes: results/<scale>/evaluate/<protocol>/<model>.json. Linear and attentive probing share one pass of the encoder.
A supervised model's own classifier is evaluated as it is.
Costs: about 90 passes of the encoder over ImageNet at the paper's scale.
"""


rule evaluate:
    input:
        [
            f"results/{P.scale}/evaluate/{protocol}/{model}.json"
            for protocol, model in plan.cells
        ],
    localrule: True


rule probe:
    input:
        data="data/{scale}/imagenet.json",
        encoder="results/{scale}/pretrain/{model}/encoder.safetensors",
        config="results/{scale}/pretrain/{model}/config.json",
    output:
        linear="results/{scale}/evaluate/linear/{model}.json",
        attentive="results/{scale}/evaluate/attentive/{model}.json",
    log:
        "work/{scale}/logs/probe/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/probe/{model}.tsv"
    threads: P.resources.probe.threads
    resources:
        **plan.machine("probe"),
    params:
        json=plan.json("seed", **P.probes.model_dump()),
        code=code_hash("cae.tasks.probe"),
    shell:
        "python -m cae probe --data {input.data} --encoder results/{wildcards.scale}/pretrain/{wildcards.model}"
        " --params {params.json:q} --threads {threads} --gpus {resources.gpu}"
        " --work work/{wildcards.scale}/evaluate/{wildcards.model} --code {params.code}"
        " --linear {output.linear} --attentive {output.attentive} 2>&1 | tee {log}"


rule classify:
    input:
        data="data/{scale}/imagenet.json",
        encoder="results/{scale}/pretrain/{model}/encoder.safetensors",
        config="results/{scale}/pretrain/{model}/config.json",
    output:
        "results/{scale}/evaluate/supervised/{model}.json",
    log:
        "work/{scale}/logs/classify/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/classify/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.supervised),
    threads: P.resources.probe.threads
    resources:
        **plan.machine("probe"),
    params:
        json=plan.json(micro_batch=P.probes.micro_batch),
        code=code_hash("cae.tasks.classify"),
    shell:
        "python -m cae classify --data {input.data} --encoder results/{wildcards.scale}/pretrain/{wildcards.model}"
        " --params {params.json:q} --threads {threads} --gpus {resources.gpu} --output {output} 2>&1 | tee {log}"
