"""A report to be kept in the repository: `git add --force reports/<scale>`, because Git ignores reports.

Needs: the report, and what its tables and figures were made of.
Makes: reports/<scale>/README.md, and copies in reports/<scale>/published/, by which `make redraw SCALE=<scale>` makes the
report again without images or checkpoints: put in their places, they are the only inputs of tables and figures.
Costs: seconds.
"""


rule publish:
    input:
        f"reports/{P.scale}/README.md",
    localrule: True


rule publication:
    input:
        expand(
            "reports/{{scale}}/tables/{table}.md",
            table=["claims", *plan.tables, "models"],
        ),
        expand("reports/{{scale}}/figures/{figure}.png", figure=plan.figures),
        lambda w: plan.drawn_and_told(w.scale),
    output:
        "reports/{scale}/README.md",
    log:
        "work/{scale}/logs/publication/README.log",
    benchmark:
        "work/{scale}/benchmarks/publication/README.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        code=code_hash("cae.reporting.publication.main"),
    shell:
        "python -m cae publish --scale {wildcards.scale:q} --output {output:q} {input:q} > {log:q} 2>&1"
