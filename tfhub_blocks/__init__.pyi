# The types of the public names, for editors and type checkers: __init__.py imports them lazily.
from types import ModuleType

from tfhub_blocks.compute.answering.opener import load_model as load_model
from tfhub_blocks.compute.encoders.encoder import load_encoder as load_encoder
from tfhub_blocks.compute.heads.linear_head import Head as Head
from tfhub_blocks.compute.models.model_writing import write_model as write_model
from tfhub_blocks.compute.step.step_frame import step as step
from tfhub_blocks.interactive.clients import LocalClient as LocalClient
from tfhub_blocks.interactive.clients import client as client
from tfhub_blocks.records.base.errors import BlocksError as BlocksError
from tfhub_blocks.records.base.folders import Format as Format
from tfhub_blocks.records.base.folders import open_folder as open_folder
from tfhub_blocks.records.base.folders import write_file as write_file
from tfhub_blocks.records.base.port_copies import like as like
from tfhub_blocks.records.base.progress import Progress as Progress
from tfhub_blocks.records.formats.evidence import Evidence as Evidence
from tfhub_blocks.records.formats.evidence import Threshold as Threshold
from tfhub_blocks.records.formats.evidence import read_evidence as read_evidence
from tfhub_blocks.records.formats.features import FEATURES as FEATURES
from tfhub_blocks.records.formats.features import open_features as open_features
from tfhub_blocks.records.formats.features import write_features as write_features
from tfhub_blocks.records.formats.models import MODEL as MODEL
from tfhub_blocks.records.formats.snapshot_writer import write_snapshot as write_snapshot
from tfhub_blocks.records.formats.snapshots import SNAPSHOT as SNAPSHOT
from tfhub_blocks.records.formats.snapshots import SnapshotItem as SnapshotItem
from tfhub_blocks.records.formats.snapshots import open_snapshot as open_snapshot

__version__: str
components: ModuleType
pipelines: ModuleType
