"""In how many bits a run computes."""

from typing import Literal

# Of the compute; parameters, moments, norms and the loss are float32 in all. With int8 and float8 the layers'
# linear maps and the gradients of what they read are products of 8 bits, and all else is bfloat16.
Precision = Literal["float32", "bfloat16", "int8", "float8"]
EightBits = Literal["int8", "float8"]

WIDTHS: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "int8": 2, "float8": 2}  # bytes of an activation


def type_of(precision: Precision) -> Literal["float32", "bfloat16"]:
    """The type of activations and of the copy of the weights that is computed with."""
    return "float32" if precision == "float32" else "bfloat16"


def eight_bits(precision: Precision) -> EightBits | None:
    """How linear maps round what they multiply; None: not at all."""
    return precision if precision in ("int8", "float8") else None
