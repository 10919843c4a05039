"""What one run learns, as frozen dataclasses, and its identity.

A `RunConfig` says everything that decides what is learned; its hash is the
`run_id`. A `Placement` says where and how fast; it is recorded beside the run
and never hashed. Fields marked `unhashed` say where the data lie, not what
they are: the hash sees their content instead.
"""

from scaling.config.baselines import NgramConfig, RecurrentConfig, Word2VecConfig
from scaling.config.data import DataConfig, Mixture, Part, Source, Stage
from scaling.config.identity import from_dict, hashed_payload, run_id, to_dict, to_json
from scaling.config.lengths import Lengths, lengths
from scaling.config.objective import (
    SPECIALS,
    Completion,
    Denoising,
    Masked,
    MixtureOfDenoisers,
    NextToken,
    ObjectiveConfig,
    Prefix,
    ReplacedTokens,
    SkipGram,
    SpanCorruption,
)
from scaling.config.placement import Placement
from scaling.config.precision import Precision
from scaling.config.run import ModelConfig, OptimConfig, RunConfig, ScheduleConfig, Trunk
from scaling.config.transformer import Experts, Parametrisation, RopeScaling, TransformerConfig
from scaling.config.worlds import ArithmeticWorld, CopyingWorld, HierarchyWorld, RetrievalWorld, World, ZipfWorld

__all__ = [
    "SPECIALS",
    "ArithmeticWorld",
    "Completion",
    "CopyingWorld",
    "DataConfig",
    "Denoising",
    "Experts",
    "HierarchyWorld",
    "Lengths",
    "Masked",
    "Mixture",
    "MixtureOfDenoisers",
    "ModelConfig",
    "NextToken",
    "NgramConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "Parametrisation",
    "Part",
    "Placement",
    "Precision",
    "Prefix",
    "RecurrentConfig",
    "ReplacedTokens",
    "RetrievalWorld",
    "RopeScaling",
    "RunConfig",
    "ScheduleConfig",
    "SkipGram",
    "Source",
    "SpanCorruption",
    "Stage",
    "TransformerConfig",
    "Trunk",
    "Word2VecConfig",
    "World",
    "ZipfWorld",
    "from_dict",
    "hashed_payload",
    "lengths",
    "run_id",
    "to_dict",
    "to_json",
]
