"""The one registry of methods: type in the spec -> what builds it from its setting."""

from __future__ import annotations

from collections.abc import Callable

from trainables.method import BaseMethod, Setting
from trainables.methods.cmd import CMDMethod
from trainables.methods.co_learning import CoLearningMethod
from trainables.methods.contrastive_regularisation import ContrastiveRegularisationMethod
from trainables.methods.distil import DistilMethod
from trainables.methods.meta_knowledge import MetaKnowledgeMethod
from trainables.methods.supervised import SupervisedMethod

METHODS: dict[str, Callable[[Setting], BaseMethod]] = {
    "supervised": SupervisedMethod,
    "cmd": CMDMethod,
    "distil": DistilMethod,
    "meta_knowledge": MetaKnowledgeMethod,
    "contrastive_regularisation": ContrastiveRegularisationMethod,
    "co_learning": CoLearningMethod,
}
