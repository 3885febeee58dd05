"""Claims: what the paper says of its numbers, asked of ours; and the order of ours beside the paper's.

Needs: tables, and the arrays of the figures that claims name.
Makes: reports/<scale>/tables/claims.csv, claims-pairs.csv, order.csv.
Costs: seconds, on the machine that runs Snakemake.
"""


rule claims:
    input:
        f"reports/{P.scale}/tables/claims.csv",
    localrule: True


rule claims_table:
    input:
        expand("reports/{{scale}}/tables/{table}.csv", table=plan.tables),
        expand("reports/{{scale}}/tables/{table}-cells.csv", table=plan.tables),
        expand("results/{{scale}}/analyze/{figure}.npz", figure=plan.claimed),
    output:
        csv=report(
            "reports/{scale}/tables/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"table": "claims", "scale": "{scale}"},
        ),
        order=report(
            "reports/{scale}/tables/order.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"table": "order", "scale": "{scale}"},
        ),
        beside=expand(
            "reports/{{scale}}/tables/{file}",
            file=["claims.md", "claims.tex", "claims-pairs.csv", "order.md"],
        ),
    log:
        "work/{scale}/logs/claims_table/claims.log",
    benchmark:
        "work/{scale}/benchmarks/claims_table/claims.tsv"
    localrule: True
    threads: P.resources.report.threads
    resources:
        **plan.machine("report"),
    params:
        claims=lambda w: [claim.model_dump() for claim in plan.claims.values()],
        files=lambda w, threads: [CLAIMS, TABLES],  # a function of threads is no trigger
        figures=as_json(plan.claimed),
        code=code_hash("cae.reporting.claims.main"),
    shell:
        "python -m cae claims --claims {params.files[0]:q} --tables {params.files[1]:q} --figures {params.figures:q}"
        " --scale {wildcards.scale:q} --output {output.csv:q} {input:q} > {log:q} 2>&1"
