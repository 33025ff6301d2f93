"""S5's regulariser over pairs of audio and text (Qian & Han 2022; methods reference, section 5).

Derived, as the public code lacks the discriminator: D = MLP([z_a; z_t; z_a' * z_t']), where ' projects to a common
width. As many pairs of a kind as the batch has rows are drawn. `info_nce` foretells the text's vector from the
audio's; under `negatives: label` the texts of the same emotion are no negatives, and equal texts never are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.losses.contrastive import same_label_mask, same_text_mask
from trainables.losses.pairs import bce, cpc, label_pairs, mine, shuffled_pairs
from trainables.spec.terms import Regulariser
from trainables.students.base import StudentOutput
from trainables.terms.base import Setting, TermLoss, nothing


class Discriminator(nn.Module):
    """The logit of "these belong together", for pairs of an audio and a text vector."""

    def __init__(self, audio: int, text: int, hidden: int) -> None:
        super().__init__()
        self.audio, self.text = nn.Linear(audio, hidden), nn.Linear(text, hidden)
        self.score = nn.Sequential(nn.Linear(audio + text + hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """[pairs, audio width], [pairs, text width] -> [pairs]"""
        joined = torch.cat([audio, text, self.audio(audio) * self.text(text)], dim=1)
        out: Tensor = self.score(joined)[:, 0]
        return out


class PairsLoss(TermLoss):
    def __init__(self, spec: Regulariser, setting: Setting) -> None:
        super().__init__()
        self._spec, widths = spec, setting.widths.pooled
        self.speaks = {"audio", "text"} <= set(widths)
        """False for a student of one modality: there is nothing to pair."""
        if not self.speaks:
            return
        audio, text = widths["audio"], widths["text"]
        if spec.estimator == "info_nce":
            self.foretell = nn.Sequential(nn.Linear(audio, spec.hidden), nn.ReLU(), nn.Linear(spec.hidden, text))
        else:
            self.discriminator = Discriminator(audio, text, spec.hidden)

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        if not self.speaks:
            return nothing(output)
        audio, text = output.pooled["audio"], output.pooled["text"]
        if self._spec.estimator == "info_nce":
            return cpc(self.foretell(audio), text, negatives=self._negatives(batch), weights=batch.weights)
        same, different = (self.discriminator(audio[p[:, 0]], text[p[:, 1]]) for p in self._pairs(batch))
        return bce(same, different) if self._spec.estimator == "bce" else mine(same, different)

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Those that belong together, and those that do not: each int64 [pairs, 2], the rows of audio and text."""
        rows = len(batch)
        if self._spec.negatives == "shuffle":
            return shuffled_pairs(rows, device=batch.labels.device)
        return label_pairs(batch.labels, rows)

    def _negatives(self, batch: Batch) -> Tensor:
        same = same_text_mask(batch.text_hash)
        return ~(same | same_label_mask(batch.labels)) if self._spec.negatives == "label" else ~same
