"""Contrastive regularisation over pairs across audio and text (Qian & Han 2022; methods reference, section 5).

Each function is a loss, -R of that section, for scores of a discriminator D that the caller applies: logits of
pairs that belong together and of pairs that do not. Encoders and discriminator both minimise it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def bce(same: Tensor, different: Tensor) -> Tensor:
    """-mean log sigma(D) of the same [P] - mean log(1 - sigma(D)) of the different [N], in nats.

    A half without a pair is 0.
    """
    return _mean(F.softplus(-same)) + _mean(F.softplus(different))


def mine(same: Tensor, different: Tensor) -> Tensor:
    """-(mean D of the same [P] - log mean exp D of the different [N]), in nats: minus a lower bound of I.

    Donsker-Varadhan (MINE, Belghazi et al., ICML 2018). The bound needs both halves: without one it is 0, as the
    other alone would be without a bottom.
    """
    if len(same) == 0 or len(different) == 0:
        return 0.0 * (same.sum() + different.sum())
    return different.logsumexp(dim=0) - different.new_tensor(len(different)).log() - same.mean()


def cpc(
    prediction: Tensor,
    target: Tensor,
    temperature: float = 1.0,
    weights: Tensor | None = None,
    negatives: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of picking a row's own target among the batch's by cosine, in nats, mean over the batch.

    prediction: [batch, width], the text's vector as foretold from the audio; target: [batch, width], the text's.
    CPC (van den Oord et al. 2018) as the authors' code has it, without a temperature (1). A batch of one gives 0.
    `weights` [batch] multiply the terms of their samples and leave the divisor as it is. negatives: bool [batch,
    batch], True where target j may be a negative of row i; None: all. A row without one gives 0.
    """
    similarity = F.normalize(prediction, dim=-1) @ F.normalize(target, dim=-1).T / temperature
    if negatives is not None:
        own = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
        similarity = similarity.masked_fill(~(negatives | own), -torch.inf)
    loss = -similarity.log_softmax(dim=1).diagonal()
    return loss.mean() if weights is None else (loss * weights).mean()


def label_pairs(
    labels: Tensor, limit: int | None = None, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Pairs (audio i, text j) of the same label, int64 [P, 2], and of different ones [N, 2], on the labels' device.

    labels: int64 [batch]. Drawn without repetition, evenly, as many of the one as of the other: all of the rarer
    kind, at most `limit`. A pair of the same may be an utterance with itself. With one class in the batch there
    are no different ones, and as many of the same as there are rows. `generator` (of the CPU; None: torch's own)
    draws.
    """
    equal = labels[:, None] == labels[None, :]
    same, different = equal.cpu().nonzero(), (~equal).cpu().nonzero()
    count = min(len(same), len(different)) or len(labels)
    drawn = [half[torch.randperm(len(half), generator=generator)] for half in (same, different)]
    most = count if limit is None else min(count, limit)
    return drawn[0][:most].to(labels.device), drawn[1][:most].to(labels.device)


def shuffled_pairs(
    rows: int, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """The true pairs (i, i), int64 [rows, 2], and (i, perm i) of a random order: the ablation `shuffle`.

    As in the authors' code, a shuffled pair may share its emotion, or be the true one.
    """
    own = torch.arange(rows)
    other = torch.randperm(rows, generator=generator)
    return torch.stack([own, own], dim=1).to(device), torch.stack([own, other], dim=1).to(device)


def _mean(terms: Tensor) -> Tensor:
    """0 for none, where torch's mean is no number."""
    return terms.sum() / max(len(terms), 1)
