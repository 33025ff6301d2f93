"""The one registry of students: type in the spec -> the network; one file each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from trainables.spec.student import StudentSpec
from trainables.students.audio_text import AudioTextStudent
from trainables.students.base import Sizes, Student, StudentOutput, Widths
from trainables.students.cnn_lstm import CnnLstmStudent
from trainables.students.cross_modal import CrossModalStudent
from trainables.students.inverted import InvertedStudent
from trainables.students.multi_level import MultiLevelStudent
from trainables.transfer_set import TransferSet

__all__ = ["STUDENTS", "Sizes", "Student", "StudentOutput", "Widths", "build_student", "make_student"]

STUDENTS: dict[str, Callable[[Any, Sizes], Student]] = {
    "audio_text_transformer": AudioTextStudent,
    "inverted_transformer": InvertedStudent,
    "multi_level_fusion": MultiLevelStudent,
    "cnn_lstm": CnnLstmStudent,
    "cross_modal_transformer": CrossModalStudent,
}


def make_student(spec: StudentSpec, sizes: Sizes) -> Student:
    """An untrained student that has seen no data; draws from torch's random state."""
    return STUDENTS[spec.type](spec, sizes)


def build_student(spec: StudentSpec, data: TransferSet, seed: int) -> Student:
    """The untrained student: a function of its arguments, which leaves torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = make_student(spec, Sizes.of(data))
    student.take_over(data)
    return student
