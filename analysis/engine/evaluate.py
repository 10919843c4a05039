"""The value and the slopes of a law, compiled, in double precision, for many parameter vectors at once.

Shapes: R parameter vectors, n rows, P parameters. Numbers of rows and of vectors
are rounded up before compiling, so that tables of similar size share a program.
"""

from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.engine.double import double
from analysis.law import Form

Columns = Mapping[str, np.ndarray]  # (n,) each, or (n, K)


def rounded(count: int) -> int:
    """The next of 8, 12, 16, 24, 32, 48, 64, 96, ..."""
    size = 8
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def padded(array: np.ndarray, rows: int) -> np.ndarray:
    """`array` with its first row repeated at the end, up to so many rows."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else np.asarray(array)


def model(form: Form, theta_P: Any, columns: Mapping[str, Any]) -> Any:
    """(n,) what residuals are taken from: ln of the law, or the law (`Form.in_log`). For use inside JAX."""
    natural = {name: jnp.exp(theta_P[i]) if form.log[i] else theta_P[i] for i, name in enumerate(form.names)}
    value = call(form, natural, columns)
    return jnp.log(value) if form.in_log else value


def call(form: Form, natural: Mapping[str, Any], columns: Mapping[str, Any]) -> Any:
    """(n,) the law itself from natural parameters. For use inside JAX."""
    rows = len(next(iter(columns.values())))
    return jnp.broadcast_to(form.function(SimpleNamespace(**natural), SimpleNamespace(**columns)), (rows,))


def values(form: Form, theta_RP: np.ndarray, columns: Columns) -> np.ndarray:
    """(R, n) the law at every row."""
    out = _padded_call(_models, form, theta_RP, columns)
    return np.exp(out) if form.in_log else out


def values_each(form: Form, theta_RP: np.ndarray, columns: Columns) -> np.ndarray:
    """(R, n) where each parameter vector has rows of its own: columns are (R, n)."""
    with double():
        out = np.asarray(_models_each(form, np.asarray(theta_RP, float), _floats(columns)))
    return np.exp(out) if form.in_log else out


def natural_values(form: Form, natural_RP: np.ndarray, columns: Columns) -> np.ndarray:
    """(R, n) the law from natural parameters, which may be zero."""
    return _padded_call(_natural, form, natural_RP, columns)


def linearise(form: Form, theta_P: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """What residuals are taken from (n,), and its slope with respect to theta (n, P)."""
    value, slope = linearise_many(form, np.asarray(theta_P, float)[None], columns)
    return value[0], slope[0]


def linearise_many(form: Form, theta_RP: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """(R, n) and (R, n, P)."""
    return _padded_call(_linear, form, theta_RP, columns)


def _padded_call(compiled: Any, form: Form, theta_RP: np.ndarray, columns: Columns) -> Any:
    rows, vectors = len(next(iter(columns.values()))), len(theta_RP)
    wide = {name: padded(values, rounded(rows)) for name, values in _floats(columns).items()}
    tall = padded(np.asarray(theta_RP, float), 1 if vectors == 1 else rounded(vectors))
    with double():
        out = compiled(form, tall, wide)
    return jax.tree.map(lambda array: np.asarray(array)[:vectors, :rows], out)


def _floats(columns: Columns) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, float) for name, values in columns.items()}


@partial(jax.jit, static_argnums=0)
def _models(form: Form, theta_RP: Any, columns: Any) -> Any:
    return jax.vmap(lambda theta: model(form, theta, columns))(theta_RP)


@partial(jax.jit, static_argnums=0)
def _models_each(form: Form, theta_RP: Any, columns: Any) -> Any:
    return jax.vmap(lambda theta, own: model(form, theta, own))(theta_RP, columns)


@partial(jax.jit, static_argnums=0)
def _natural(form: Form, natural_RP: Any, columns: Any) -> Any:
    return jax.vmap(lambda row: call(form, dict(zip(form.names, row, strict=True)), columns))(natural_RP)


@partial(jax.jit, static_argnums=0)
def _linear(form: Form, theta_RP: Any, columns: Any) -> Any:
    def one(theta: Any) -> Any:
        return model(form, theta, columns), jax.jacfwd(lambda t: model(form, t, columns))(theta)

    return jax.vmap(one)(theta_RP)
