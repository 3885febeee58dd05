"""Object detection and instance segmentation on COCO: Mask R-CNN (`coco-mask`) and Cascade Mask R-CNN (`coco-cascade`).

Needs: a pretrained encoder, COCO's manifest.
Makes: results/<scale>/evaluate/<protocol>/<model>.json, and in results/<scale>/<protocol>/<model>/ the detector, what it
finds and some pictures. A run that was stopped goes on from work/<scale>/<protocol>/<model>.
Costs: at the paper's scale 12 epochs of COCO, most of a day of 8 GPUs a model.
"""


rule detect:
    input:
        data="data/{scale}/coco.json",
        encoder=ENCODER,
    output:
        "results/{scale}/{protocol}/{model}/model.safetensors",
        "results/{scale}/{protocol}/{model}/metrics.jsonl",
        "results/{scale}/{protocol}/{model}/detections.json",
        "results/{scale}/{protocol}/{model}/examples.npz",
        metrics="results/{scale}/evaluate/{protocol}/{model}.json",
    log:
        "work/{scale}/logs/{protocol}/{model}.log",
    benchmark:
        "work/{scale}/benchmarks/{protocol}/{model}.tsv"
    wildcard_constraints:
        protocol=one_of(DETECTORS),
    priority: 1
    threads: plan.threads("detect")
    resources:
        **plan.machines("detect"),
    params:
        json=lambda w: plan.evaluation_json(
            w.model,
            cascade=w.protocol == "coco-cascade",
            **P.detecting(w.model).model_dump(),
        ),
        code=code_hash("cae.tasks.detect.main"),
    shell:
        "{resources.launcher}python -m cae detect"
        " --data {input.data:q} --encoder results/{wildcards.scale:q}/pretrain/{wildcards.model:q}"
        " --protocol {wildcards.protocol:q} --params {params.json:q} --threads {threads} --gpus {resources.node_gpus} {resources.recompute}"
        " --work work/{wildcards.scale:q}/{wildcards.protocol:q}/{wildcards.model:q} --code {params.code}"
        " --metrics {output.metrics:q} --output results/{wildcards.scale:q}/{wildcards.protocol:q}/{wildcards.model:q}"
        " > {log:q} 2>&1"
