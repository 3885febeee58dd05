"""Tables, figures and the page that shows them.

Needs: metrics and arrays; no checkpoint, no images.
Makes: reports/<scale>/tables/, reports/<scale>/figures/, reports/<scale>/index.html.
Costs: seconds, on the machine that runs Snakemake.
"""

SHOWN = [*plan.figures, "dag"]  # on the page


rule report:
    input:
        rules.all.input,
    localrule: True


rule tables:
    input:
        expand("reports/{scale}/tables/{table}.csv", scale=P.scale, table=plan.tables),
    localrule: True


rule figures:
    input:
        expand("reports/{scale}/figures/{figure}.png", scale=P.scale, figure=SHOWN),
    localrule: True


for target in [*rules.tables.input, *rules.figures.input]:

    rule:
        name:
            Path(target).stem
        input:
            target,
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
        cells="reports/{scale}/tables/{table}-cells.csv",
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
        tables=lambda w, threads: TABLES,  # a function of threads is no trigger
        facts=lambda w: plan.json(**plan.facts_of(w.table)),
        code=code_hash("cae.reporting.tables.main"),
    shell:
        "python -m cae table --tables {params.tables:q} --name {wildcards.table:q} --scale {wildcards.scale:q}"
        " --facts {params.facts:q} --output {output.csv:q} {input:q} > {log:q} 2>&1"


rule figure:
    input:
        lambda w: [f"results/{w.scale}/{path}" for path in plan.drawn_from[w.figure]],
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
        # A function of threads is no trigger: no picture shows its caption.
        caption=lambda w, threads: caption_of(w.figure),
        code=lambda w: code_of_figure(module_of(w.figure)),
    shell:
        "python -m cae figure --name {wildcards.figure:q} --scale {wildcards.scale:q} --output {output.png:q} {input:q}"
        " > {log:q} 2>&1"


rule page:
    input:
        expand(
            "reports/{{scale}}/tables/{table}.csv",
            table=[*plan.tables, "claims", "order", "models"],
        ),
        expand("reports/{{scale}}/tables/{table}-cells.csv", table=plan.tables),
        expand("reports/{{scale}}/figures/{figure}.png", figure=SHOWN),
        expand("data/{{scale}}/{dataset}.json", dataset=plan.counted),
        TABLES,
        str(HERE / "cae/reporting/page.html.j2"),
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
        json=lambda w: P.model_dump_json(),  # of a plain text Snakemake would fill in what stands in braces
        code=code_hash(
            "cae.reporting.page.main",
            *(f"{module_of(name)}.CAPTION" for name in SHOWN),
        ),
    shell:
        "python -m cae page --scale {wildcards.scale:q} --params {params.json:q} --benchmarks work/{wildcards.scale:q}/benchmarks"
        " --output {output:q} {input:q} > {log:q} 2>&1"
