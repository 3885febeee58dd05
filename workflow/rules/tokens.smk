"""Tokenizers, and the cache of every training image's tokens in each of its views.

Needs: ImageNet's manifest; for a released tokenizer its file of weights ($DALLE_ENCODER).
Makes: results/<scale>/tokenizers/<tokenizer>/, results/<scale>/tokens/<tokenizer>/.
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
            "results/{scale}/tokens/{tokenizer}/manifest.json",
            scale=P.scale,
            tokenizer=plan.tokenizers,
        ),
    localrule: True


rule train_tokenizer:
    input:
        data="data/{scale}/imagenet.json",
    output:
        "results/{scale}/tokenizers/{built}/model.safetensors",
        "results/{scale}/tokenizers/{built}/tokenizer.json",
        "results/{scale}/tokenizers/{built}/metrics.jsonl",
        "results/{scale}/tokenizers/{built}/report.npz",
    log:
        "work/{scale}/logs/train_tokenizer/{built}.log",
    benchmark:
        "work/{scale}/benchmarks/train_tokenizer/{built}.tsv"
    threads: P.resources.tokenizer.threads
    resources:
        **plan.machine("tokenizer"),
    params:
        json=lambda w: plan.tokenizer_json(w.built, "image", "view", "seed"),
        code=code_hash("cae.tasks.train_tokenizer"),
    shell:
        "python -m cae train-tokenizer --data {input.data} --params {params.json:q}"
        " --threads {threads} --gpus {resources.gpu} --work work/{wildcards.scale}/tokenizers/{wildcards.built}"
        " --code {params.code} --output results/{wildcards.scale}/tokenizers/{wildcards.built}"
        " 2>&1 | (trap '' TERM; tee {log})"


rule import_tokenizer:
    output:
        "results/{scale}/tokenizers/{released}/model.safetensors",
        "results/{scale}/tokenizers/{released}/tokenizer.json",
    log:
        "work/{scale}/logs/import_tokenizer/{released}.log",
    benchmark:
        "work/{scale}/benchmarks/import_tokenizer/{released}.tsv"
    threads: 1
    resources:
        **plan.machine("report"),
    params:
        json=lambda w: plan.tokenizer_json(w.released, "image"),
        code=code_hash("cae.tasks.import_tokenizer"),
    shell:
        "python -m cae import-tokenizer --params {params.json:q}"
        " --output results/{wildcards.scale}/tokenizers/{wildcards.released} 2>&1 | tee {log}"


rule tokenize:
    input:
        data="data/{scale}/imagenet.json",
        weights="results/{scale}/tokenizers/{tokenizer}/model.safetensors",
        about="results/{scale}/tokenizers/{tokenizer}/tokenizer.json",
    output:
        temp("results/{scale}/tokens/{tokenizer}/shards/{k}-of-{n}.npy"),
    log:
        "work/{scale}/logs/tokenize/{tokenizer}/{k}-of-{n}.log",
    benchmark:
        "work/{scale}/benchmarks/tokenize/{tokenizer}/{k}-of-{n}.tsv"
    threads: P.resources.tokens.threads
    resources:
        **plan.machine("tokens"),
    params:
        json=plan.json("seed", "view", "image"),
        code=code_hash("cae.tasks.tokenize"),
    shell:
        "python -m cae tokenize --data {input.data}"
        " --tokenizer results/{wildcards.scale}/tokenizers/{wildcards.tokenizer} --params {params.json:q}"
        " --shard {wildcards.k}/{wildcards.n} --threads {threads} --gpus {resources.gpu}"
        " --work work/{wildcards.scale}/tokens/{wildcards.tokenizer} --output {output} 2>&1 | tee {log}"


rule merge_tokens:
    input:
        data="data/{scale}/imagenet.json",
        weights="results/{scale}/tokenizers/{tokenizer}/model.safetensors",
        about="results/{scale}/tokenizers/{tokenizer}/tokenizer.json",
        shards=lambda w: plan.shards_of(w.tokenizer, w.scale),
    output:
        "results/{scale}/tokens/{tokenizer}/tokens.npy",
        "results/{scale}/tokens/{tokenizer}/manifest.json",
    log:
        "work/{scale}/logs/merge_tokens/{tokenizer}.log",
    benchmark:
        "work/{scale}/benchmarks/merge_tokens/{tokenizer}.tsv"
    threads: 1
    resources:
        mem_mb=P.resources.tokens.mem_mb,
        runtime=P.resources.tokens.runtime,
    params:
        json=plan.json("seed", "view", "image"),
        code=code_hash("cae.tasks.tokenize"),
    shell:
        "python -m cae merge-tokens --data {input.data}"
        " --tokenizer results/{wildcards.scale}/tokenizers/{wildcards.tokenizer} --params {params.json:q}"
        " --output results/{wildcards.scale}/tokens/{wildcards.tokenizer} {input.shards} 2>&1 | tee {log}"
