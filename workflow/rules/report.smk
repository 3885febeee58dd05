"""Tables, figures and the page that shows them.

Needs: metrics and arrays; no checkpoint, no images.
Makes: reports/<scale>/tables/, reports/<scale>/figures/, reports/<scale>/index.html.
Costs: seconds, on the machine that runs Snakemake.
"""


rule report:
    input:
        f"reports/{P.scale}/index.html",
    localrule: True


rule tables:
    input:
        expand("reports/{scale}/tables/{table}.csv", scale=P.scale, table=plan.tables),
    localrule: True


rule figures:
    input:
        expand(
            "reports/{scale}/figures/{figure}.png", scale=P.scale, figure=plan.figures
        ),
    localrule: True


for name in plan.tables:

    rule:
        name:
            name
        input:
            f"reports/{P.scale}/tables/{name}.csv",
        localrule: True


for name in plan.analyses:

    rule:
        name:
            name
        input:
            f"reports/{P.scale}/figures/{name}.png",
        localrule: True


rule table:
    input:
        lambda w: plan.metrics_of(w.table, w.scale),
    output:
        csv=report(
            "reports/{scale}/tables/{table}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}", "scale": "{scale}"},
        ),
        md="reports/{scale}/tables/{table}.md",
        tex="reports/{scale}/tables/{table}.tex",
    log:
        "work/{scale}/logs/table/{table}.log",
    benchmark:
        "work/{scale}/benchmarks/table/{table}.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        table=lambda w: plan.tables[w.table].model_dump(),
        epochs=lambda w: plan.json(**plan.epochs_of(w.table)),
        code=code_hash("cae.reporting.tables"),
    shell:
        "python -m cae table --tables params/tables.yaml --name {wildcards.table} --scale {wildcards.scale}"
        " --epochs {params.epochs:q} --output {output.csv} {input} 2>&1 | tee {log}"


rule figure:
    input:
        "results/{scale}/analyze/{figure}.npz",
    output:
        png=report(
            "reports/{scale}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "scale": "{scale}"},
        ),
        pdf="reports/{scale}/figures/{figure}.pdf",
    log:
        "work/{scale}/logs/figure/{figure}.log",
    benchmark:
        "work/{scale}/benchmarks/figure/{figure}.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        code=code_hash("cae.reporting.figures"),
    shell:
        "python -m cae figure --name {wildcards.figure} --scale {wildcards.scale} --output {output.png} {input}"
        " 2>&1 | tee {log}"


rule tokenizer_figure:
    input:
        "results/{scale}/tokenizers/{built}/report.npz",
    output:
        png=report(
            "reports/{scale}/figures/tokenizer-{built}.png",
            caption="../report/tokenizer.rst",
            category="Training",
            labels={"figure": "tokenizer {built}", "scale": "{scale}"},
        ),
        pdf="reports/{scale}/figures/tokenizer-{built}.pdf",
    log:
        "work/{scale}/logs/tokenizer_figure/{built}.log",
    benchmark:
        "work/{scale}/benchmarks/tokenizer_figure/{built}.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        code=code_hash("cae.reporting.figures"),
    shell:
        "python -m cae figure --name tokenizer --scale {wildcards.scale} --output {output.png} {input} 2>&1 | tee {log}"


rule training_figure:
    input:
        expand("results/{{scale}}/pretrain/{model}/metrics.jsonl", model=plan.trained),
    output:
        png=report(
            "reports/{scale}/figures/training.png",
            caption="../report/training.rst",
            category="Training",
            labels={"figure": "training", "scale": "{scale}"},
        ),
        pdf="reports/{scale}/figures/training.pdf",
    log:
        "work/{scale}/logs/training_figure/training.log",
    benchmark:
        "work/{scale}/benchmarks/training_figure/training.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        code=code_hash("cae.reporting.figures"),
    shell:
        "python -m cae figure --name training --scale {wildcards.scale} --output {output.png} {input} 2>&1 | tee {log}"


rule page:
    input:
        expand("reports/{{scale}}/tables/{table}.csv", table=plan.tables),
        expand("reports/{{scale}}/figures/{figure}.png", figure=plan.figures),
        expand("data/{{scale}}/{dataset}.json", dataset=["imagenet", "ade20k"]),
        "params/tables.yaml",
    output:
        report(
            "reports/{scale}/index.html",
            caption="../report/page.rst",
            category="Page",
            labels={"page": "index", "scale": "{scale}"},
        ),
    log:
        "work/{scale}/logs/page/index.log",
    benchmark:
        "work/{scale}/benchmarks/page/index.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        json=P.model_dump_json(),
        code=code_hash("cae.reporting.page"),
    shell:
        "python -m cae page --scale {wildcards.scale} --params {params.json:q} --output {output} {input} 2>&1 | tee {log}"
