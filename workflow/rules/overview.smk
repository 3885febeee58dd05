"""The whole at a glance: what it costs, the models, a picture of the DAG, and what DVC's own views show.

Needs: rules and params; metrics.
Makes: on the terminal the costs; reports/<scale>/tables/models.csv, reports/<scale>/figures/dag.png, reports/<scale>/metrics/,
reports/<scale>/losses/.
Costs: seconds, on the machine that runs Snakemake.
"""

SAME_PARAMS = same_params(workflow.configfiles, workflow.config_settings.config)


rule cost:
    log:
        f"work/{P.scale}/logs/cost/cost.log",
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        options=lambda w: same_params(
            workflow.configfiles, workflow.config_settings.config, "--params"
        ),
    shell:
        "python -m cae cost {params.options} 2>&1 | tee {log:q}"


rule models_table:
    input:
        expand("results/{{scale}}/pretrain/{model}/provenance.json", model=plan.models),
        expand("results/{{scale}}/pretrain/{model}/metrics.jsonl", model=plan.trained),
    output:
        csv=report(
            "reports/{scale}/tables/models.csv",
            caption="../report/models.rst",
            category="Training",
            labels={"table": "models", "scale": "{scale}"},
        ),
        md="reports/{scale}/tables/models.md",
    log:
        "work/{scale}/logs/models_table/models.log",
    benchmark:
        "work/{scale}/benchmarks/models_table/models.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        code=code_hash("cae.reporting.models.main"),
    shell:
        "python -m cae models --scale {wildcards.scale:q} --output {output.csv:q} {input:q} > {log:q} 2>&1"


rule rulegraph:
    input:
        snakefile=str(HERE / "Snakefile"),
        rules=sorted(map(str, (HERE / "workflow/rules").glob("*.smk"))),
    output:
        png=report(
            "reports/{scale}/figures/dag.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "dag", "scale": "{scale}"},
        ),
        pdf="reports/{scale}/figures/dag.pdf",
        dot="reports/{scale}/figures/dag.dot",
    log:
        "work/{scale}/logs/rulegraph/dag.log",
    benchmark:
        "work/{scale}/benchmarks/rulegraph/dag.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        caption=lambda w, threads: caption_of("dag"),
        rules=plan.rules_from,
        same=lambda w, threads: SAME_PARAMS,  # a function of threads is no trigger
        code=code_of_figure(module_of("dag")),
    shell:
        "snakemake --snakefile {input.snakefile:q} --rulegraph dot --nolock {params.same} -- reports/{wildcards.scale:q}/index.html > {output.dot:q} 2> {log:q}"
        " && python -m cae figure --name dag --scale {wildcards.scale:q} --output {output.png:q} {output.dot:q} >> {log:q} 2>&1"


rule metrics:
    input:
        expand("results/{{scale}}/evaluate/{cell}.json", cell=map("/".join, plan.cells)),
        expand("results/{{scale}}/pretrain/{model}/metrics.jsonl", model=plan.trained),
    output:
        expand("reports/{{scale}}/{file}", file=plan.shown_by_dvc),
    log:
        "work/{scale}/logs/metrics/all.log",
    benchmark:
        "work/{scale}/benchmarks/metrics/all.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        json=as_json(plan.numbers),
        code=code_hash("cae.reporting.metrics.main"),
    shell:
        "python -m cae metrics --params {params.json:q} --output reports/{wildcards.scale:q} {input:q} > {log:q} 2>&1"
