"""A tiny corpus and tiny checkpoints of the `transformers` classes, written to disk; nothing needs a network."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image

from trainables import corpus
from trainables.artifacts import Record, publish
from trainables.pictures import encode_image
from trainables.spec import (
    AudioTeacher,
    CoAttentionFusion,
    FineTuning,
    MeldSpec,
    Pretrained,
    RunSpec,
    Scratch,
    TeachersSpec,
    TextTeacher,
)
from trainables.storage import Storage

LABELS = ("neutral", "joy", "anger")
CORPUS = "c0ffee0000000000"
PICTURE = 24
"""Side of the corpus's pictures in pixels."""
WIDTHS = {"audio": 4, "visual": 2}
"""Of its vectors."""
_WORDS = {"neutral": "plain", "joy": "happy", "anger": "angry"}


def small_corpus(
    storage: Storage,
    n: int = 60,
    shards: int = 2,
    aligned: bool = False,
    *,
    pictures: bool = False,
    several: bool = False,
    vectors: bool = False,
    scale: float = 1.0,
) -> str:
    """60 % train, 20 % dev, 20 % test; one word and the pitch of a tone tell the label; two clips are missing.

    `aligned`: four words, eight syllables and sixteen phones of equal length, but for every tenth row.
    `pictures`: one to five a row, whose colour tells the label; u5 and u38 have none.
    `several`: the row's label and, in every second row, the next one.
    `vectors`: in place of all else, one to five of 4 for audio (u3 has none) and as many of 2 for pictures,
    `scale` times as large.
    """
    rng = np.random.default_rng(0)
    rows = [
        _row(rng, i, n)
        | (_times(i) if aligned else {})
        | (_pictures(i) if pictures else {})
        | (_targets(i) if several else {})
        | (_vectors(rng, i, scale) if vectors else {})
        for i in range(n)
    ]
    folder = Path(storage.root).parent / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    for shard, part in enumerate(np.array_split(np.arange(n), shards)):
        table = pa.Table.from_pylist([rows[i] for i in part], schema=corpus.schema())
        pq.write_table(table, folder / f"utterances-{shard:05d}.parquet")
    info = {"labels": list(LABELS), "multi_label": several, "widths": WIDTHS if vectors else {}, "stand_in": True}
    record = Record(kind="corpus", fingerprint=CORPUS, spec={}, created=datetime.now(UTC), info=info)
    publish(storage, corpus.prefix(CORPUS), folder, record)
    return CORPUS


def _row(rng: np.random.Generator, index: int, n: int) -> dict[str, Any]:
    split = "train" if index < 0.6 * n else "dev" if index < 0.8 * n else "test"
    label = LABELS[index % 3]
    text = f"{_WORDS[label]} words number {index % 7}"
    seconds = 0.4 + 0.05 * (index % 5)
    missing = index in (4, int(0.6 * n) + 1)
    return {
        "uid": f"u{index}", "split": split, "dialogue": f"{split}-{index // 6}", "turn": index % 6,
        "speaker": f"s{index % 4}", "label": label, "text": text, "text_hash": corpus.text_hash(text),
        "seconds": 0.0 if missing else seconds, "raw_seconds": seconds,
        "audio": None if missing else _flac(rng, 300.0 * (1 + index % 3), seconds),
        "words": None, "phones": None, "status": "decode_error" if missing else "ok", "reason": "",
    }  # fmt: skip


def _times(index: int) -> dict[str, Any]:
    """Segments over the first 0.4 seconds, which every clip lasts."""
    if index % 10 == 0:
        return {}
    shares = {"words": 4, "syllables": 8, "phones": 16}
    return {
        name: [{"label": "x", "start": 0.4 * i / n, "end": 0.4 * (i + 1) / n} for i in range(n)]
        for name, n in shares.items()
    }


def _pictures(index: int) -> dict[str, Any]:
    if index in (5, 38):
        return {"images": None}
    values = np.full((PICTURE, PICTURE, 3), 40, dtype=np.uint8)
    values[:, :, index % 3] = 220
    values[: PICTURE // 2] //= 1 + index % 2
    frames = [np.roll(values, step, axis=0) for step in range(1 + index % 5)]
    return {"images": [encode_image(Image.fromarray(frame)) for frame in frames]}


def _vectors(rng: np.random.Generator, index: int, scale: float) -> dict[str, Any]:
    """Of another mean and deviation in every column, with the label in the first."""
    found: dict[str, Any] = {"audio": None, "text": ""}
    for modality, width in WIDTHS.items():
        values = 5 + np.arange(1, width + 1) * rng.normal(size=(1 + index % 5, width))
        values[:, 0] += 3 * (index % 3)
        values *= scale
        absent = modality == "audio" and index == 3
        found[f"{modality}_vectors"] = None if absent else values.astype(np.float32).ravel().tolist()
    return found


def _targets(index: int) -> dict[str, Any]:
    targets = [0.0] * len(LABELS)
    for step in range(1 + index % 2):
        targets[(index + step) % len(LABELS)] = 1.0
    return {"targets": targets, "label": corpus.joined(targets, LABELS)}


def _flac(rng: np.random.Generator, hertz: float, seconds: float) -> bytes:
    time = np.arange(int(seconds * 16_000)) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * rng.normal(size=len(time))
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.astype(np.float32), 16_000, format="FLAC")
    return buffer.getvalue()


def small_run(**training: Any) -> RunSpec:
    """Scratch teachers of width 16 that take a second to tune."""
    tuning = FineTuning(**{"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, **training})
    scratch = Scratch(width=16, layers=1, heads=2, vocabulary=100)
    return RunSpec(
        corpus=MeldSpec(),
        teachers=TeachersSpec(
            audio=AudioTeacher(encoder=scratch, training=tuning, dropout=0.0),
            text=TextTeacher(encoder=scratch, training=tuning, dropout=0.0),
            fusion=CoAttentionFusion(width=16, heads=2, dropout=0.0, training=tuning),
        ),
    )


def three_run(frames: int = 3, **training: Any) -> RunSpec:
    """As `small_run`, with a visual teacher beside the others, and the fusion of all three."""
    run = small_run(**training).model_dump(mode="json")
    run["corpus"] |= {"modalities": ["audio", "text", "visual"]}
    run["teachers"]["visual"] = {**run["teachers"]["audio"], "frames": frames}
    return RunSpec.model_validate(run)


def text_run(folder: Path, **training: Any) -> RunSpec:
    """A text teacher alone, starting from the checkpoint in `folder`."""
    tuning = FineTuning(**{"epochs": 2, "batch_size": 8, **training})
    text = TextTeacher(encoder=Pretrained(checkpoint=str(folder)), training=tuning)
    return RunSpec(
        corpus=MeldSpec(modalities=("text",)),
        teachers=TeachersSpec(audio=None, text=text, fusion=None),
        student={"type": "audio_text_transformer", "modalities": ("text",)},
    )


def wav2vec_checkpoint(folder: Path, norm: str = "group", **preprocessor: Any) -> Path:
    """`norm`: as wav2vec2-base ("group") or as large-lv60 ("layer")."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8, 8),
        conv_kernel=(400, 3), conv_stride=(160, 2), feat_extract_norm=norm, num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, do_stable_layer_norm=norm == "layer",
    )  # fmt: skip
    Wav2Vec2Model(config).save_pretrained(folder)
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), "utf-8")
    return folder


def image_checkpoint(folder: Path, family: str = "vit", **preprocessor: Any) -> Path:
    """A model of two layers over pictures of 32, of the `transformers` type `family`."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(
        family, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32,
        patch_size=8,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(folder)
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), "utf-8")
    return folder


def bert_checkpoint(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    from trainables.teachers.scratch import train_tokenizer

    tokenizer = train_tokenizer([f"{word} words number {i}" for word in _WORDS.values() for i in range(7)], 100)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder
