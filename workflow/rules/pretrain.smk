"""Pretrained encoders: trained here (`source: built`; with 0 epochs left as initialised), or imported from the file they were
released in.

Needs: ImageNet's manifest and, where the targets are tokens, their cache; for a released model its file, by rule in the
folder $CHECKPOINTS. A run that was stopped goes on from work/<scale>/pretrain/<model>, which is no output: Snakemake
deletes outputs before each attempt.
Makes: results/<scale>/pretrain/<model>/.
Costs: nearly everything. Minutes at the demo scale; in the paper, days of 8 GPUs a model.
"""


rule pretrain:
    input:
        expand(
            "results/{scale}/pretrain/{model}/model.safetensors",
            scale=P.scale,
            model=plan.models,
        ),
    localrule: True


rule pretrain_model:
    input:
        data="data/{scale}/imagenet.json",
        targets=lambda w: plan.targets_of(w.model, w.scale),
    output:
        "results/{scale}/pretrain/{model}/model.safetensors",
        "results/{scale}/pretrain/{model}/config.json",
        "results/{scale}/pretrain/{model}/provenance.json",
        "results/{scale}/pretrain/{model}/README.md",
        "results/{scale}/pretrain/{model}/last.ckpt",
        "results/{scale}/pretrain/{model}/metrics.jsonl",
    log:
        "work/{scale}/logs/pretrain_model/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/pretrain_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.built_models),
    priority: lambda w: EARLY + plan.recipes[w.model].epochs  # the longest first: much waits for it
    threads: plan.threads("pretrain")
    resources:
        **plan.machines("pretrain"),
    params:
        json=lambda w: plan.json(**plan.recipes[w.model].model_dump()),
        targets=lambda w: plan.target_options(w.model, w.scale),
        # A method's file and what it imports; a change of one method trains no other again.
        code=lambda w: code_hash(
            "cae.tasks.pretrain.main", f"cae.methods.{plan.recipes[w.model].method}"
        ),
    shell:
        "{resources.launcher}python -m cae pretrain"
        " --data {input.data:q} {params.targets} --params {params.json:q}"
        " --threads {threads} --gpus {resources.node_gpus} {resources.recompute} --work work/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " --code {params.code} --output results/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " > {log:q} 2>&1"


rule initialise_model:
    output:
        "results/{scale}/pretrain/{model}/model.safetensors",
        "results/{scale}/pretrain/{model}/config.json",
        "results/{scale}/pretrain/{model}/provenance.json",
        "results/{scale}/pretrain/{model}/README.md",
    log:
        "work/{scale}/logs/initialise_model/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/initialise_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.untrained_models),
    priority: FIRST
    threads: 1
    resources:
        **plan.machine("report") | {"mem_mb": P.resources.analyze.mem_mb},
    params:
        json=lambda w: plan.untrained_json(w.model),
        code=lambda w: code_hash(
            "cae.tasks.initialise.main", plan.initialising_code(w.model)
        ),
    shell:
        "python -m cae initialise --params {params.json:q} --output results/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " > {log:q} 2>&1"


rule import_model:
    output:
        "results/{scale}/pretrain/{model}/model.safetensors",
        "results/{scale}/pretrain/{model}/config.json",
        "results/{scale}/pretrain/{model}/provenance.json",
        "results/{scale}/pretrain/{model}/README.md",
    log:
        "work/{scale}/logs/import_model/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/import_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.released_models),
    priority: FIRST  # what cannot be found is told in the first seconds
    threads: 1
    resources:
        **plan.machine("report") | {"mem_mb": P.resources.analyze.mem_mb},
    params:
        json=lambda w: plan.release_json(w.model),
        code=code_hash("cae.tasks.import_model.main"),
    shell:
        "python -m cae import --params {params.json:q} --output results/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " > {log:q} 2>&1"
