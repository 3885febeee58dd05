"""Semantic segmentation on ADE20K with UperNet, and the search of its learning rate.

Needs: a pretrained encoder, ADE20K's manifest.
Makes: results/<scale>/ade20k/<model>/<learning rate>/ of each run, with the segmenter, its metrics and some pictures; of the
best, results/<scale>/evaluate/ade20k/<model>.json. A run that was stopped goes on from work/<scale>/ade20k/.
Costs: at the paper's scale four runs (ViT-L: three) of 160,000 steps, each most of a day of 8 GPUs.
"""


rule segment:
    input:
        data="data/{scale}/ade20k.json",
        encoder=ENCODER,
    output:
        "results/{scale}/ade20k/{model}/{lr}/model.safetensors",
        "results/{scale}/ade20k/{model}/{lr}/metrics.jsonl",
        "results/{scale}/ade20k/{model}/{lr}/metrics.json",
        "results/{scale}/ade20k/{model}/{lr}/examples.npz",
    log:
        "work/{scale}/logs/segment/{model}-{lr}.log",
    benchmark:
        "work/{scale}/benchmarks/segment/{model}-{lr}.tsv"
    wildcard_constraints:
        lr=one_of(str(lr) for size in P.ade20k.sizes.values() for lr in size.lrs),
    priority: 1
    threads: plan.threads("segment")
    resources:
        **plan.machines("segment"),
    params:
        json=lambda w: plan.evaluation_json(
            w.model, **P.segmenting(w.model)[float(w.lr)].model_dump()
        ),
        code=code_hash("cae.tasks.segment.main"),
    shell:
        "{resources.launcher}python -m cae segment"
        " --data {input.data:q} --encoder results/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " --params {params.json:q} --threads {threads} --gpus {resources.node_gpus} {resources.recompute}"
        " --work work/{wildcards.scale:q}/ade20k/{wildcards.model:q}/{wildcards.lr:q} --code {params.code}"
        " --output results/{wildcards.scale:q}/ade20k/{wildcards.model:q}/{wildcards.lr:q} > {log:q} 2>&1"


rule choose_learning_rate:
    input:
        lambda w: plan.searched(w.model, w.scale),
    output:
        examples="results/{scale}/ade20k/{model}/examples.npz",
        metrics="results/{scale}/evaluate/ade20k/{model}.json",
    log:
        "work/{scale}/logs/ade20k/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/ade20k/{model}.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        code=code_hash("cae.tasks.choose.main"),
    shell:
        "python -m cae choose --metrics {output.metrics:q} --output {output.examples:q} {input:q} > {log:q} 2>&1"
