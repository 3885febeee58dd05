"""Analyses: the arrays that the figures draw.

Needs: manifests; for Figure 4 two whole models, for Figures 5, 6 and 9 encoders, for Figure 7 their attentive probes, too.
Makes: results/<scale>/analyze/<figure>.npz.
Costs: minutes; of attention one pass of each encoder over ImageNet's validation set, and COCO's where there is one.
"""


rule analyze:
    input:
        expand(
            "results/{scale}/analyze/{figure}.npz", scale=P.scale, figure=plan.analyses
        ),
    localrule: True


rule masks_and_crops:
    input:
        data="data/{scale}/imagenet.json",
    output:
        "results/{scale}/analyze/figure3.npz",
    log:
        "work/{scale}/logs/masks_and_crops/figure3.log",
    benchmark:
        "work/{scale}/benchmarks/masks_and_crops/figure3.tsv"
    threads: 1
    resources:
        **plan.machine("report"),
    params:
        json=plan.json(
            "image", "view", "seed", mask=P.shared_mask, figure3=P.analyses.figure3
        ),
        code=code_hash("cae.analysis.masks_and_crops.main"),
    shell:
        "python -m cae masks-and-crops --data {input.data:q} --params {params.json:q} --output {output:q} > {log:q} 2>&1"


rule reconstruct:
    input:
        data="data/{scale}/imagenet.json",
        models=expand(
            "results/{{scale}}/pretrain/{model}/last.ckpt",
            model=P.analyses.figure4.models,
        ),
        provenance=expand(
            "results/{{scale}}/pretrain/{model}/provenance.json",
            model=P.analyses.figure4.models,
        ),
    output:
        "results/{scale}/analyze/figure4.npz",
    log:
        "work/{scale}/logs/reconstruct/figure4.log",
    benchmark:
        "work/{scale}/benchmarks/reconstruct/figure4.tsv"
    threads: 1
    resources:
        **plan.machine("analyze") | {"gpu": 0},
    params:
        folders=lambda w: expand(
            "results/{s}/pretrain/{model}", s=w.scale, model=P.analyses.figure4.models
        ),
        json=plan.json("seed", figure4=P.analyses.figure4),
        code=code_hash("cae.analysis.reconstruction.main"),
    shell:
        "python -m cae reconstruct --data {input.data:q} --models {params.folders:q} --params {params.json:q}"
        " --output {output:q} > {log:q} 2>&1"


rule tsne:
    input:
        data="data/{scale}/ade20k.json",
        models=expand(ENCODER, model=P.analyses.figure5.models, allow_missing=True),
    output:
        "results/{scale}/analyze/figure5.npz",
    log:
        "work/{scale}/logs/tsne/figure5.log",
    benchmark:
        "work/{scale}/benchmarks/tsne/figure5.tsv"
    threads: plan.threads("analyze")
    resources:
        **plan.machine("analyze"),
    params:
        folders=lambda w: expand(
            "results/{s}/pretrain/{model}", s=w.scale, model=P.analyses.figure5.models
        ),
        json=plan.json("seed", figure5=P.analyses.figure5),
        code=code_hash("cae.analysis.tsne.main"),
    shell:
        "python -m cae tsne --data {input.data:q} --models {params.folders:q} --params {params.json:q}"
        " --threads {threads} --gpus {resources.gpu} --output {output:q} > {log:q} 2>&1"


rule attention:
    input:
        data="data/{scale}/imagenet.json",
        objects=["data/{scale}/coco.json"] if "coco" in P.datasets else [],
        models=lambda w: expand(
            ENCODER, scale=w.scale, model=plan.shown[w.figure].models
        ),
        probes=lambda w: plan.probes_of(w.figure, w.scale),
    output:
        "results/{scale}/analyze/{figure}.npz",
    log:
        "work/{scale}/logs/attention/{figure}.log",
    benchmark:
        "work/{scale}/benchmarks/attention/{figure}.tsv"
    wildcard_constraints:
        figure=one_of(sorted({"figure6", "figure7", "figure9"} & plan.shown.keys())),
    threads: plan.threads("analyze")
    resources:
        **plan.machine("analyze"),
    params:
        folders=lambda w: expand(
            "results/{s}/pretrain/{model}",
            s=w.scale,
            model=plan.shown[w.figure].models,
        ),
        objects=lambda w, input: option("objects", input.objects or None),
        probes=lambda w, input: option("probes", input.probes or None),
        json=lambda w: plan.attention_json(w.figure),
        code=code_hash("cae.analysis.attention.main"),
    shell:
        "python -m cae attention --data {input.data:q} {params.objects} --models {params.folders:q} {params.probes}"
        " --params {params.json:q} --threads {threads} --gpus {resources.gpu} --output {output:q} > {log:q} 2>&1"
