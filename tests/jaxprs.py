"""What a traced function does, read from its program."""

from collections.abc import Iterator

import jax
import jax.extend

Equation = jax.extend.core.JaxprEqn


def equations(program: jax.extend.core.Jaxpr) -> Iterator[Equation]:
    """Every operation, those of inner functions and loops too, each once."""
    for equation in program.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(inner)
