"""Specifications: what a run is. Importing them loads neither torch nor any other heavy package."""

from trainables.spec.base import Modality, Spec, TeacherName
from trainables.spec.corpus import (
    EMOTIONS,
    AlignmentSpec,
    CorpusSpec,
    EmoDBSpec,
    IemocapSpec,
    ManifestSpec,
    MeldSpec,
    RavdessSpec,
    StandInSpec,
)
from trainables.spec.features import FeaturesSpec
from trainables.spec.method import CMD, Curriculum, MethodSpec, Supervised
from trainables.spec.run import RunSpec
from trainables.spec.schedule import Schedule
from trainables.spec.student import AudioTextTransformer, StudentSpec
from trainables.spec.teachers import (
    AudioTeacher,
    CoAttentionFusion,
    Encoder,
    EncoderTeacher,
    FineTuning,
    FusionTeacher,
    MultiLevelTeacher,
    Pretrained,
    Scratch,
    TeachersSpec,
    TextTeacher,
)
from trainables.spec.training import TrainingSpec

__all__ = [
    "CMD",
    "EMOTIONS",
    "AlignmentSpec",
    "AudioTeacher",
    "AudioTextTransformer",
    "CoAttentionFusion",
    "CorpusSpec",
    "Curriculum",
    "EmoDBSpec",
    "Encoder",
    "EncoderTeacher",
    "FeaturesSpec",
    "FineTuning",
    "FusionTeacher",
    "IemocapSpec",
    "ManifestSpec",
    "MeldSpec",
    "MethodSpec",
    "Modality",
    "MultiLevelTeacher",
    "Pretrained",
    "RavdessSpec",
    "RunSpec",
    "Schedule",
    "Scratch",
    "Spec",
    "StandInSpec",
    "StudentSpec",
    "Supervised",
    "TeacherName",
    "TeachersSpec",
    "TextTeacher",
    "TrainingSpec",
]
