"""One file per corpus: raw files in, rows of `trainables.corpus.schema()` out. Importing this stays cheap."""

from __future__ import annotations

from typing import Any

from trainables.importers.base import Importer
from trainables.importers.crema_d import CremaDImporter
from trainables.importers.emodb import EmoDBImporter
from trainables.importers.features import FeaturesImporter
from trainables.importers.iemocap import IemocapImporter
from trainables.importers.manifest import ManifestImporter
from trainables.importers.meld import MeldImporter
from trainables.importers.mosei import MoseiImporter
from trainables.importers.ravdess import RavdessImporter
from trainables.importers.standin import StandInImporter

IMPORTERS: dict[str, Importer[Any]] = {
    "crema_d": CremaDImporter(),
    "emodb": EmoDBImporter(),
    "features": FeaturesImporter(),
    "iemocap": IemocapImporter(),
    "manifest": ManifestImporter(),
    "meld": MeldImporter(),
    "mosei": MoseiImporter(),
    "ravdess": RavdessImporter(),
    "standin": StandInImporter(),
}
"""The registry: a corpus spec's `type` -> its importer."""
