"""Small untrained encoders of the `transformers` classes, for corpora made by rule and machines without a hub."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.corpus import SAMPLE_RATE
from trainables.spec.teachers import Scratch

SCRATCH_SIDE = 48
"""Of the pictures that a small image encoder sees, in pixels: 36 patches of 8 by 8."""
_PATCH = 8
_START = 0.5
"""What waves and positions are multiplied with, so that the first layer's norm sees both beside each other."""
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def scratch_audio(spec: Scratch) -> Any:
    """wav2vec 2.0 with a light front end: 25 ms filters every 10 ms, then two steps to one frame in 40 ms.

    The filters start as a mel-spaced Gabor bank and are trained on, as waves alone teach too little in minutes.
    """
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=spec.width,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        intermediate_size=4 * spec.width,
        conv_dim=(64, spec.width, spec.width),
        conv_kernel=(400, 3, 3),
        conv_stride=(160, 2, 2),
        conv_bias=True,
        feat_extract_norm="layer",
        num_conv_pos_embeddings=15,
        num_conv_pos_embedding_groups=spec.heads,
        hidden_dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.1,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        apply_spec_augment=False,
        mask_time_prob=0.0,
    )
    model = Wav2Vec2Model(config)
    with torch.no_grad():
        first = model.feature_extractor.conv_layers[0].conv
        first.weight.copy_(gabor_filters(first.out_channels, first.kernel_size[0]).unsqueeze(1))
    return model


def gabor_filters(count: int, length: int) -> Tensor:
    """[count, length]: cosines and sines under a Hann window at mel-spaced frequencies from 60 Hz to 7.6 kHz."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (60.0, 7600.0))
    mels = torch.linspace(low, high, (count + 1) // 2)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    time = torch.arange(length) / SAMPLE_RATE
    angle = 2 * math.pi * hertz[:, None] * time[None]
    waves = torch.stack([angle.cos(), angle.sin()], dim=1).flatten(0, 1)[:count]
    return waves * torch.hann_window(length) / math.sqrt(length)


def scratch_text(spec: Scratch, tokenizer: Any) -> Any:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.width,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        intermediate_size=4 * spec.width,
        max_position_embeddings=130,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertModel(config, add_pooling_layer=False)


def scratch_visual(spec: Scratch) -> Any:
    """ViT over 36 patches and a class token.

    A small corpus teaches it little from random draws alone. So it begins as it knows pictures to be: a patch as
    its slow waves (derived; as the Gabor bank of `scratch_audio`), a position as sines and cosines of its row and
    column (Beyer et al., "Better plain ViT baselines", 2022). Both are trained on.
    """
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=spec.width,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        intermediate_size=4 * spec.width,
        image_size=SCRATCH_SIDE,
        patch_size=_PATCH,
    )
    model = ViTModel(config, add_pooling_layer=False)
    embeddings = model.embeddings
    with torch.no_grad():
        embeddings.patch_embeddings.projection.weight.copy_(_START * patch_waves(spec.width, _PATCH))
        embeddings.position_embeddings[0, 1:] = _START * grid_positions(SCRATCH_SIDE // _PATCH, spec.width)
    return model


def patch_waves(count: int, side: int) -> Tensor:
    """[count, 3, side, side]: the two-dimensional cosine transform's slowest waves, each of norm 1.

    Half of them are of luma (ITU-R BT.601), a quarter each of its two differences in colour; behind the last wave
    that there is come zeros.
    """
    steps = torch.arange(side)
    waves = (math.pi * (steps + 0.5) * steps[:, None] / side).cos()
    waves = waves / waves.norm(dim=1, keepdim=True)
    order = sorted(range(side * side), key=lambda i: (i // side + i % side, i))
    plane = torch.einsum("ux,vy->uvxy", waves, waves).flatten(0, 1)[order]
    colours = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    luma = count - 2 * (count // 4)
    parts = [
        c[:, None, None] * plane[:n, None] for c, n in zip(colours, (luma, count // 4, count // 4), strict=True)
    ]
    bank = torch.cat(parts)
    return torch.cat([bank, bank.new_zeros(count - len(bank), 3, side, side)])


def grid_positions(side: int, width: int) -> Tensor:
    """[side * side, width], row by row: sines and cosines of column and row at wave lengths from 2 pi to 200 pi."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    slowing = 100.0 ** -(torch.arange(width // 4) / max(width // 4, 1))
    angles = [place.reshape(-1, 1) * slowing for place in (columns, rows)]
    found = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
    return torch.nn.functional.pad(found, (0, width - found.shape[1]))


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Lower-case word pieces learned on `texts` by byte-pair merges; the same texts give the same pieces.

    Not the library's WordPiece trainer, whose pieces differ from call to call: it numbers the inner characters
    in the order of a hash map.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    pad, unknown, start, end, mask = _SPECIAL
    tokenizer = Tokenizer(models.BPE(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(_SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in (start, end)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=start,
        sep_token=end,
        mask_token=mask,
    )
