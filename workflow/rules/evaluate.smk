"""Evaluations of pretrained encoders: the cells of the tables.

Needs: a pretrained encoder, ImageNet's manifest.
Makes: results/<scale>/evaluate/<protocol>/<model>.json. Linear and attentive probing share one pass of the frozen
encoder; their weights stay in results/<scale>/<protocol>/<model>/, and what they lost and scored on the way is told in
work/<scale>/evaluate/<model>/metrics.jsonl. A supervised model's own classifier is evaluated as it is. Fine-tuning, on
ImageNet (`finetune`), a share of its labels (`finetune-10`: 10 %) or another set (`food101`, `clipart`, `sketch`), leaves its classifier in
results/<scale>/<protocol>/<model>/. What was stopped goes on from work/<scale>/evaluate/<model> or
work/<scale>/<protocol>/<model>.
Costs: at the paper's scale, about 90 passes of the encoder over ImageNet to probe; to fine-tune, 50 (ViT-L) to 200
(ViT-S) epochs of training.
"""


rule evaluate:
    input:
        [
            f"results/{P.scale}/evaluate/{protocol}/{model}.json"
            for protocol, model in plan.cells
        ],
        [
            f"results/{P.scale}/{file}"
            for figure in plan.figures
            for file in plan.drawn_from[figure]
            if file.startswith("evaluate/")
        ],
    localrule: True


rule probe:
    input:
        data="data/{scale}/imagenet.json",
        encoder=ENCODER,
    output:
        linear="results/{scale}/evaluate/linear/{model}.json",
        attentive="results/{scale}/evaluate/attentive/{model}.json",
        weights=[
            "results/{scale}/linear/{model}/model.safetensors",
            "results/{scale}/attentive/{model}/model.safetensors",
        ],
    log:
        "work/{scale}/logs/probe/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/probe/{model}.tsv"
    threads: plan.threads("probe")
    resources:
        **plan.machine("probe"),
    params:
        json=lambda w: plan.evaluation_json(w.model, **P.probes.model_dump()),
        code=code_hash("cae.tasks.probe.main"),
    shell:
        "python -m cae probe --data {input.data:q} --encoder results/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " --params {params.json:q} --threads {threads} --gpus {resources.gpu}"
        " --work work/{wildcards.scale:q}/evaluate/{wildcards.model:q} --code {params.code}"
        " --linear {output.linear:q} --attentive {output.attentive:q} --weights {output.weights:q}"
        " > {log:q} 2>&1"


rule classify:
    input:
        data="data/{scale}/imagenet.json",
        encoder=ENCODER,
    output:
        "results/{scale}/evaluate/supervised/{model}.json",
    log:
        "work/{scale}/logs/classify/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/classify/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.supervised),
    threads: plan.threads("probe")
    resources:
        **plan.machine("probe"),
    params:
        json=plan.json("precision", micro_batch=P.probes.micro_batch),
        code=code_hash("cae.tasks.classify.main"),
    shell:
        "python -m cae classify --data {input.data:q} --encoder results/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " --params {params.json:q} --threads {threads} --gpus {resources.gpu} --output {output:q} > {log:q} 2>&1"


rule finetune:
    input:
        data=lambda w: f"data/{w.scale}/{plan.data_of(w.protocol)}.json",
        encoder=ENCODER,
    output:
        "results/{scale}/{protocol}/{model}/model.safetensors",
        "results/{scale}/{protocol}/{model}/config.json",
        "results/{scale}/{protocol}/{model}/provenance.json",
        "results/{scale}/{protocol}/{model}/README.md",
        "results/{scale}/{protocol}/{model}/metrics.jsonl",
        metrics="results/{scale}/evaluate/{protocol}/{model}.json",
    log:
        "work/{scale}/logs/{protocol}/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/{protocol}/{model}.tsv"
    wildcard_constraints:
        protocol=one_of(plan.finetunings),
    priority: 1
    threads: plan.threads("finetune")
    resources:
        **plan.machines("finetune"),
    params:
        json=lambda w: plan.evaluation_json(
            w.model, **P.finetuning(w.model, w.protocol).model_dump()
        ),
        code=code_hash("cae.tasks.finetune.main"),
    shell:
        "{resources.launcher}python -m cae finetune"
        " --data {input.data:q} --encoder results/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " --protocol {wildcards.protocol:q} --params {params.json:q} --threads {threads} --gpus {resources.node_gpus} {resources.recompute}"
        " --work work/{wildcards.scale:q}/{wildcards.protocol:q}/{wildcards.model:q} --code {params.code}"
        " --metrics {output.metrics:q} --output results/{wildcards.scale:q}/{wildcards.protocol:q}/{wildcards.model:q}"
        " > {log:q} 2>&1"
