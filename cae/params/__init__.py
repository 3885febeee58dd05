"""Typed params, a room a section of params/paper.yaml.

`load("params/demo.yaml")` merges a scale's differences over `base: paper.yaml` and checks every key and type.
Each job is given only the part it uses, as JSON (`Params.pretraining(model).model_dump_json()`).
"""

# ruff: noqa: F401, E501, I001

from cae.params.ade20k import Segmentation, SegmentationShared
from cae.params.analyses import Analyses, Figure3, Figure4, Figure5
from cae.params.claims import FIGURES, Cell, Claim, load_claims
from cae.params.coco import CropPolicy, Detection
from cae.params.data import LAYOUTS, Crop, Image, Mask, Supervision, View
from cae.params.files import depth, layers, merge, merged, read
from cae.params.finetune import FineTune, share_of_labels
from cae.params.loading import load, validate
from cae.params.models import BEiTModel, CAEModel, Data2VecModel, DeiTModel, DINOModel, MAEModel, MoCoV3Model, Model, Pretraining, Release, SimMIMModel, read_model  # fmt: skip
from cae.params.probes import Probe, Probes
from cae.params.recipes import RELATIVE, Recipes
from cae.params.scale import Params
from cae.params.strict import Job, Positive, Precision, Strict, describe, unknown
from cae.params.tables import Row, Table, load_tables
from cae.params.tokenizers import DALLE, DVAE, VQGAN, Tokenizer
