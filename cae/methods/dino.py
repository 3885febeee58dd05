"""DINO: emerging properties in self-supervised vision transformers (Caron et al. 2021, arXiv 2104.14294;
github.com/facebookresearch/dino).

A student on all crops of an image predicts what its moving average, the teacher, says of the two large crops. Centring
and sharpening of the teacher's output keep it from collapsing. Learned positions are resampled for the small crops by
timm, with antialiasing and to exactly their grid; the public code has no antialiasing and a scale that is 0.1 patches larger.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cae.data import contrastive
from cae.data.colours import recoloured
from cae.methods.parts import ema
from cae.methods.parts.collapse import entropy, spread
from cae.models.vit import create_encoder, normalise
from cae.params.methods.dino import DINOModel
from cae.training.devices import all_gather
from cae.training.optim import cosine


class Head(nn.Module):
    """Three layers to a bottleneck, normalised, then a linear layer whose rows have norm one."""

    def __init__(self, p: DINOModel):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(p.width, p.hidden_width), nn.GELU(), nn.Linear(p.hidden_width, p.hidden_width), nn.GELU(),
            nn.Linear(p.hidden_width, p.bottleneck),
        )  # fmt: skip
        for layer in self.mlp[::2]:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.last = nn.Parameter(nn.Linear(p.bottleneck, p.outputs).weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] to [B, outputs], float32."""
        x = self.mlp(x).float()
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 is too coarse to be divided by the temperatures
            return F.linear(F.normalize(x, dim=-1), F.normalize(self.last, dim=-1))


class DINO(nn.Module):
    """`encoder` is the teacher: what the public code evaluates and releases."""

    def __init__(self, params: DINOModel):
        super().__init__()
        self.params = p = params
        self.student = create_encoder(p, dynamic_img_size=True)
        nn.init.trunc_normal_(self.student.cls_token, std=0.02)
        self.student_head = Head(p)
        self.encoder = create_encoder(p, dynamic_img_size=True, drop_path_rate=0.0).requires_grad_(False)
        self.encoder.load_state_dict(self.student.state_dict())
        self.head = ema.frozen_copy(self.student_head)
        self.register_buffer("centre", torch.zeros(1, p.outputs))
        self.answers: list[Tensor] = []  # the teacher's mean answers since the last step, from which the centre follows

    @staticmethod
    def batches(images, params: DINOModel) -> contrastive.Views:
        p, local = params, params.view.model_copy(update={"scale": params.local_scale})
        large = [contrastive.Look(p.view, p.image.size, *often) for often in ((1.0, 0.0), (0.1, 0.2))]
        small = contrastive.Look(local, p.local_size, blur=0.5)
        return contrastive.Views(images, [*large, *[small] * p.local_crops], p.seed, p.image.size)

    def before_step(self, progress: float) -> None:
        """Each parameter's gradient is clipped by itself; the head's last layer stands still in the first epochs.

        Momentum is that of the progress before the step, as the public code's schedule."""
        if gradients := [parameter.grad for parameter in self.parameters() if parameter.grad is not None]:
            norms = torch.stack(torch._foreach_norm(gradients))
            torch._foreach_mul_(gradients, (self.params.clip_each / (norms + 1e-6)).clamp(max=1).unbind())
        if self._epoch(progress) < self.params.frozen_epochs:
            self.student_head.last.grad = None
        self.momentum = cosine(progress, self.params.momentum, 1.0)

    def after_step(self, progress: float) -> None:
        ema.update(self.encoder, self.student, self.momentum)
        ema.update(self.head, self.student_head, self.momentum)
        mean = all_gather(torch.cat(self.answers).mean(0, keepdim=True))[0].mean(0, keepdim=True)
        self.centre.lerp_(mean, 1 - self.params.centre_momentum)
        self.answers.clear()

    def _epoch(self, progress: float) -> int:
        return int(progress * self.params.epochs + 1e-6)

    def teacher_temperature(self, epoch: Tensor) -> Tensor:
        """Return the temperature of an epoch (from 0), float64: it rises linearly over the first `teacher_warmup_epochs`."""
        low, high = self.params.teacher_temperature
        steps = max(1, self.params.teacher_warmup_epochs - 1)
        return low + (high - low) * (epoch.double() / steps).clamp(max=1.0)

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """Loss terms; batch: views, uint8 [B, S, S, 3], the two large crops first; colours, how each is to change (none:
        as they are); epoch, an integer tensor.

        `divergence` is the loss without the teacher's own entropy, which centring raises at first: what is left to learn.
        `entropy` of the teacher's output, over log(outputs), is 1 where it collapses to uniform; `entropy_of_mean`, of
        its mean over the batch, is 0 where all images get the same sharp answer.
        """
        p = self.params
        sizes = [slice(2), *([slice(2, None)] if p.local_crops else [])]
        groups = [normalise(recoloured(batch, views)) for views in sizes]
        students = torch.cat([self.student.forward_features(group)[:, 0] for group in groups])
        students = (self.student_head(students) / p.student_temperature).log_softmax(-1)
        students = students.unflatten(0, (2 + p.local_crops, -1))
        with torch.no_grad():
            features = self.encoder.forward_features(groups[0])[:, 0]
            outputs = self.head(features)
            targets = ((outputs - self.centre) / self.teacher_temperature(batch["epoch"])).softmax(-1)
        if self.training:
            self.answers.append(outputs.mean(0, keepdim=True))
        # Each large crop's target against all other crops' students, at once: they are 22 pairs of large tensors.
        others = students.sum(0) - students[:2]
        losses = -(targets.unflatten(0, (2, -1)) * others).sum(-1).mean(1)
        loss, unsure = losses.mean() / (len(students) - 1), entropy(targets).mean()
        return {"loss": loss, "divergence": loss.detach() - unsure * math.log(p.outputs), "entropy": unsure,
                "entropy_of_mean": entropy(targets.mean(0)), "spread": spread(features)}  # fmt: skip


build = DINO
