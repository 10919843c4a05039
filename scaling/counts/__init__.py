"""What a model holds, computes and stores: parameters, FLOPs and bytes, by named conventions. No JAX."""

from scaling.counts.activations import activation_bytes_per_token
from scaling.counts.flops import TRAIN_PASSES, Flops, flops_per_token, forward_flops_per_token, train_flops
from scaling.counts.memory import (
    InferenceMemory,
    StateBytes,
    TrainingMemory,
    inference_memory,
    passing_bytes,
    state_bytes,
    training_memory,
)
from scaling.counts.parameters import Params, params
from scaling.counts.sides import Causal
from scaling.counts.weights import Matrices, matrices

__all__ = [
    "TRAIN_PASSES",
    "Causal",
    "Flops",
    "InferenceMemory",
    "Matrices",
    "Params",
    "StateBytes",
    "TrainingMemory",
    "activation_bytes_per_token",
    "flops_per_token",
    "forward_flops_per_token",
    "inference_memory",
    "matrices",
    "params",
    "passing_bytes",
    "state_bytes",
    "train_flops",
    "training_memory",
]
