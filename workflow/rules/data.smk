"""Data sets: images on disk to a manifest that stands for them everywhere else.

Needs: nothing where the scale makes its own data; else the data set below its root ($IMAGENET_ROOT, $ADE20K_ROOT).
Makes: data/<scale>/<dataset>.json.
Costs: the demo sets a few seconds. ImageNet: every image is decoded once, an hour on 16 cores.
"""


rule data:
    input:
        expand("data/{scale}/{dataset}.json", scale=P.scale, dataset=P.datasets),
    localrule: True


rule make_data:
    output:
        "data/{scale}/{made}.json",
    log:
        "work/{scale}/logs/make_data/{made}.log",
    benchmark:
        "work/{scale}/benchmarks/make_data/{made}.tsv"
    priority: lambda w: FIRST if w.made == "imagenet" else EARLY
    threads: P.resources.index.threads
    resources:
        **plan.machine("index"),
    params:
        layout=lambda w: P.datasets[w.made].layout,
        root=lambda w: P.datasets[w.made].root,
        classes=lambda w: option("classes", P.datasets[w.made].classes),
        scenes=lambda w: option(
            "scenes", " ".join(map(str, P.datasets[w.made].scenes or [])) or None
        ),
        # A function of threads is no trigger: a batch of another size indexes nothing anew (the Snakefile compares it).
        batches=lambda w, threads: as_json(plan.batches[w.made]),
        seed=P.seed,
        code=lambda w: code_hash(
            "cae.data.demo.write_demo",
            "cae.data.manifests.index",
            f"cae.data.layouts.{P.datasets[w.made].layout}",
        ),
    shell:
        "python -m cae make --layout {params.layout:q} --root {params.root:q} {params.classes} --seed {params.seed}"
        " {params.scenes} --batches {params.batches:q} --threads {threads} --output {output:q} > {log:q} 2>&1"


rule index_data:
    output:
        "data/{scale}/{indexed}.json",
    log:
        "work/{scale}/logs/index_data/{indexed}.log",
    benchmark:
        "work/{scale}/benchmarks/index_data/{indexed}.tsv"
    priority: FIRST
    threads: P.resources.index.threads
    resources:
        **plan.machine("index"),
    params:
        layout=lambda w: P.datasets[w.indexed].layout,
        root=lambda w: P.datasets[w.indexed].root,
        classes=lambda w: option("classes", P.datasets[w.indexed].classes),
        unreadable=lambda w: P.datasets[w.indexed].unreadable,
        batches=lambda w, threads: as_json(plan.batches[w.indexed]),  # no trigger, as above
        code=lambda w: code_hash(
            "cae.data.manifests.index",
            f"cae.data.layouts.{P.datasets[w.indexed].layout}",
        ),
    shell:
        "python -m cae index --layout {params.layout:q} --root {params.root:q} {params.classes}"
        " --unreadable {params.unreadable} --batches {params.batches:q} --threads {threads} --output {output:q} > {log:q} 2>&1"
