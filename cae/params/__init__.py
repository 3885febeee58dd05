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
from cae.params.files import depth, layers, merge, merged, parse_yaml, read, read_yaml
from cae.params.finetune import FineTune, share_of_labels
from cae.params.loading import load, validate
from cae.params.methods import METHODS, Model, read_model
from cae.params.models import Pretraining
from cae.params.probes import Probe, Probes
from cae.params.release import Release
from cae.params.scale import Params
from cae.params.strict import Job, Positive, Precision, Strict, describe, nearest, unknown
from cae.params.tables import Row, Table, load_tables
from cae.params.tokenizers import DALLE, DVAE, VQGAN, Tokenizer
from cae.params.untrained import Untrained, UntrainedModel, untrained
