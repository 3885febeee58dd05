"""Tokenizers, and the caches of every training image's tokens in each of its views.

Models that see the same views and predict the same tokenizer's tokens share a cache.

Needs: ImageNet's manifest; for a released tokenizer its file of weights, by rule in the folder $CHECKPOINTS.
Makes: results/<scale>/tokenizers/<tokenizer>/, results/<scale>/tokens/<cache>/; a cache of the views that all share has the
tokenizer's name, any other a hash behind it.
Costs: tokens of the paper's 1600 views: 64 shards of a GPU-day or less each, 0.8 TB of disk and as much for the shards.
"""


rule tokenizers:
    input:
        expand(
            "results/{scale}/tokenizers/{tokenizer}/tokenizer.json",
            scale=P.scale,
            tokenizer=plan.tokenizers,
        ),
    localrule: True


rule tokens:
    input:
        expand(
            "results/{scale}/tokens/{cache}/manifest.json",
            scale=P.scale,
            cache=plan.wanted_caches,
        ),
    localrule: True


rule train_tokenizer:
    input:
        data="data/{scale}/imagenet.json",
    output:
        "results/{scale}/tokenizers/{tokenizer}/model.safetensors",
        "results/{scale}/tokenizers/{tokenizer}/tokenizer.json",
        "results/{scale}/tokenizers/{tokenizer}/metrics.jsonl",
        "results/{scale}/tokenizers/{tokenizer}/report.npz",
    log:
        "work/{scale}/logs/train_tokenizer/{tokenizer}.log",
    benchmark:
        "work/{scale}/benchmarks/train_tokenizer/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=one_of(plan.built_tokenizers),
    priority: FIRST
    threads: plan.threads("tokenizer")
    resources:
        **plan.machines("tokenizer"),
    params:
        json=lambda w: plan.tokenizer_json(
            w.tokenizer, "image", "view", "seed", "precision"
        ),
        code=lambda w: code_hash(
            "cae.tasks.train_tokenizer.main", plan.tokenizer_module(w.tokenizer)
        ),
    shell:
        "{resources.launcher}python -m cae train-tokenizer"
        " --data {input.data:q} --params {params.json:q}"
        " --threads {threads} --gpus {resources.node_gpus} --work work/{wildcards.scale:q}/tokenizers/{wildcards.tokenizer:q}"
        " --code {params.code} --output results/{wildcards.scale:q}/tokenizers/{wildcards.tokenizer:q}"
        " > {log:q} 2>&1"


rule import_tokenizer:
    output:
        "results/{scale}/tokenizers/{tokenizer}/model.safetensors",
        "results/{scale}/tokenizers/{tokenizer}/tokenizer.json",
    log:
        "work/{scale}/logs/import_tokenizer/{tokenizer}.log",
    benchmark:
        "work/{scale}/benchmarks/import_tokenizer/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=one_of(plan.released_tokenizers),
    priority: FIRST  # what cannot be found is told in the first seconds
    threads: 1
    resources:
        **plan.machine("report"),
    params:
        json=lambda w: plan.tokenizer_json(w.tokenizer, "image"),
        code=lambda w: code_hash(
            "cae.tasks.import_tokenizer.main", plan.tokenizer_module(w.tokenizer)
        ),
    shell:
        "python -m cae import-tokenizer --params {params.json:q}"
        " --output results/{wildcards.scale:q}/tokenizers/{wildcards.tokenizer:q} > {log:q} 2>&1"


rule tokenize:
    input:
        data="data/{scale}/imagenet.json",
        tokenizer=lambda w: plan.tokenizer_files(w.cache, w.scale),
    output:
        "results/{scale}/tokens/{cache}/shards/{k}-of-{n}.npy",
    log:
        "work/{scale}/logs/tokenize/{cache}/{k}-of-{n}.log",
    benchmark:
        "work/{scale}/benchmarks/tokenize/{cache}/{k}-of-{n}.tsv"
    priority: FIRST
    threads: plan.threads("tokens")
    resources:
        **plan.machine("tokens"),
    params:
        tokenizer=lambda w: plan.tokenizer_folder(w.cache, w.scale),
        json=lambda w: plan.caches[w.cache][1],
        code=lambda w: code_hash(
            "cae.tasks.tokenize.main", plan.tokenizer_module(plan.caches[w.cache][0])
        ),
    shell:
        "python -m cae tokenize --data {input.data:q}"
        " --tokenizer {params.tokenizer:q} --params {params.json:q}"
        " --shard {wildcards.k:q}/{wildcards.n:q} --threads {threads} --gpus {resources.gpu}"
        " --work work/{wildcards.scale:q}/tokens/{wildcards.cache:q} --output {output:q} > {log:q} 2>&1"


rule list_tokens:
    input:
        data="data/{scale}/imagenet.json",
        tokenizer=lambda w: plan.tokenizer_files(w.cache, w.scale),
        shards=lambda w: plan.shards_of(w.cache, w.scale),
    output:
        "results/{scale}/tokens/{cache}/shards.json",
        "results/{scale}/tokens/{cache}/manifest.json",
    log:
        "work/{scale}/logs/list_tokens/{cache}.log",
    benchmark:
        "work/{scale}/benchmarks/list_tokens/{cache}.tsv"
    priority: FIRST
    threads: 1
    resources:
        **plan.machine("tokens") | {"gpu": 0},
    params:
        tokenizer=lambda w: plan.tokenizer_folder(w.cache, w.scale),
        json=lambda w: plan.caches[w.cache][1],
        code=code_hash("cae.tasks.list_tokens.main"),
    shell:
        "python -m cae list-tokens --data {input.data:q}"
        " --tokenizer {params.tokenizer:q} --params {params.json:q}"
        " --output results/{wildcards.scale:q}/tokens/{wildcards.cache:q} {input.shards:q} > {log:q} 2>&1"
