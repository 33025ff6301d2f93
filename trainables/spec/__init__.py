"""Specifications: what a run is. Importing them loads neither torch nor any other heavy package."""

from trainables.spec.any_corpus import AlignmentSpec, VisualSpec
from trainables.spec.base import Modality, Spec, TeacherName
from trainables.spec.corpus import (
    EMOTIONS,
    CorpusSpec,
    CremaDSpec,
    EmoDBSpec,
    FeaturesCorpusSpec,
    IemocapSpec,
    ManifestSpec,
    MeldSpec,
    MoseiSpec,
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
    VisualTeacher,
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
    "CremaDSpec",
    "Curriculum",
    "EmoDBSpec",
    "Encoder",
    "EncoderTeacher",
    "FeaturesCorpusSpec",
    "FeaturesSpec",
    "FineTuning",
    "FusionTeacher",
    "IemocapSpec",
    "ManifestSpec",
    "MeldSpec",
    "MethodSpec",
    "Modality",
    "MoseiSpec",
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
    "VisualSpec",
    "VisualTeacher",
]
