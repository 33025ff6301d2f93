"""What the transfer set saves: an epoch of a student from it, against the same epoch with its teachers in the loop.

The teachers are wav2vec 2.0 base and BERT base with random weights: time does not ask what they have learned.
Processor time on one thread, so that a busy machine disturbs both alike. The epoch has 64 utterances of two
seconds; with every further utterance both sides grow alike.
"""

from __future__ import annotations

import time

import torch
from transformers import BertConfig, BertModel, Wav2Vec2Config, Wav2Vec2Model

from tests.benchmarks.test_step_overhead import corpus
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.spec import AudioTextTransformer, RunSpec, Supervised, TrainingSpec

UTTERANCES, BATCH = 64, 32
SECONDS, PIECES = 2.0, 10


@torch.inference_mode()
def live_seconds() -> float:
    """Processor seconds of the forward passes that a loop without a transfer set adds to an epoch."""
    audio, text = Wav2Vec2Model(Wav2Vec2Config()).eval(), BertModel(BertConfig()).eval()
    audio(torch.randn(1, 16_000))
    began = time.process_time()
    for _ in range(UTTERANCES // BATCH):
        audio(torch.randn(BATCH, int(16_000 * SECONDS)))
        text(torch.randint(5, 30_000, (BATCH, PIECES)))
    return time.process_time() - began


def student_seconds(epochs: int) -> float:
    data = corpus(UTTERANCES, ("audio", "text"), 5000)
    run = RunSpec(
        student=AudioTextTransformer(width=64),
        method=Supervised(),
        training=TrainingSpec(epochs=epochs, batch_size=BATCH, patience=0),
    )
    began = time.process_time()
    train(run, data, ListReporter(), threads=1)
    return time.process_time() - began


def test_an_epoch_from_the_transfer_set_costs_a_fraction_of_one_with_live_teachers() -> None:
    torch.set_num_threads(1)
    student_seconds(1)
    student = (student_seconds(6) - student_seconds(1)) / 5
    teachers = live_seconds()
    ratio = (student + teachers) / student
    print(
        f"\nan utterance costs the student {1e3 * student / UTTERANCES:.1f} ms an epoch from the transfer set, and "
        f"live teachers {1e3 * teachers / UTTERANCES:.0f} ms: an epoch with them takes {ratio:.0f} times as long"
    )
    assert ratio > 3
