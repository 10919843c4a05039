"""Which tensor of theirs is which parameter of ours: rules that are read in both directions.

"Theirs" are the tensors of a transformers file, by name; "ours" the leaves of
a tree of parameters, by dotted path. A rule names both and holds the two
functions between them, each the other's inverse. Shapes are written nowhere:
what their file must hold is what the rules make of our tree.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, ...]
LISTED = 6  # names that an error spells out


class Leaf(NamedTuple):
    """One of our parameters, or one layer of a stack of them."""

    path: str
    row: int | None = None


class Rule(NamedTuple):
    """Some of their tensors are some of our leaves. No tensor at all: the leaves must be zero."""

    theirs: tuple[str, ...]
    ours: tuple[Leaf, ...]
    load: Callable[..., Arrays]
    store: Callable[..., Arrays]


Layer = Callable[[str], Leaf]  # from a path within a block to that layer's leaf
Stacks = Callable[[str, int], Layer]  # of a stack ("encoder", "decoder") and a layer, counted from 0


def copied(name: str, leaf: Leaf) -> Rule:
    return Rule((name,), (leaf,), lambda x: (x,), lambda x: (x,))


def transposed(name: str, leaf: Leaf) -> Rule:
    """torch.nn.Linear keeps (out, in)."""
    return Rule((name,), (leaf,), lambda x: (x.T,), lambda x: (x.T,))


def flat(name: str, leaf: Leaf) -> Rule:
    """Theirs has a leading dimension of one."""
    return Rule((name,), (leaf,), lambda x: (x[0],), lambda x: (x[None],))


def above_one(name: str, leaf: Leaf) -> Rule:
    """Theirs is what the scale has above one (Gemma)."""
    return Rule((name,), (leaf,), lambda x: (x + 1,), lambda x: (x - 1,))


def after_rows(name: str, leaf: Leaf, rows: int) -> Rule:
    """Theirs begins with rows that no position uses (BART, RoBERTa); written back as zeros."""

    def store(x: np.ndarray) -> Arrays:
        return (np.concatenate([np.zeros((rows, *x.shape[1:]), x.dtype), x]),)

    return Rule((name,), (leaf,), lambda x: (x[rows:],), store)


def fused(name: str, *leaves: Leaf) -> Rule:
    """Theirs is ours side by side along the last dimension, all of one width (GPT's queries, keys and values)."""
    return Rule(
        (name,),
        leaves,
        lambda x: tuple(np.split(x, len(leaves), axis=-1)),
        lambda *parts: (np.concatenate(parts, axis=-1),),
    )


def stacked(names: Sequence[str], leaf: Leaf) -> Rule:
    """Theirs are the transposed rows of ours (experts)."""
    return Rule(
        tuple(names),
        (leaf,),
        lambda *parts: (np.stack([part.T for part in parts]),),
        lambda x: tuple(part.T for part in x),
    )


def absent(leaf: Leaf) -> Rule:
    """Theirs has nothing of the kind: zeros here, and only zeros can be written there."""
    return Rule((), (leaf,), tuple, lambda x: ())


def linear(name: str, layer: Layer, path: str, *, bias: bool = True) -> list[Rule]:
    """A torch.nn.Linear."""
    rules = [transposed(f"{name}.weight", layer(f"{path}.kernel"))]
    return [*rules, copied(f"{name}.bias", layer(f"{path}.bias"))] if bias else rules


def layer_norm(name: str, layer: Layer, path: str) -> list[Rule]:
    """A norm with a scale and a bias."""
    return [copied(f"{name}.weight", layer(f"{path}.scale")), copied(f"{name}.bias", layer(f"{path}.bias"))]


def whole(path: str) -> Leaf:
    """The `Layer` of what lies outside of the blocks."""
    return Leaf(path)


def stacks(paths: Iterable[str]) -> Stacks:
    """Where a layer's parameters lie in a tree with these paths: row i // p of place i % p, p places a period."""
    places: dict[str, set[str]] = {}
    for path in paths:
        stack, *rest = path.split(".")
        if rest[:1] == ["blocks"]:
            places.setdefault(stack, set()).add(rest[1])

    def layer(stack: str, index: int) -> Layer:
        period = len(places[stack])
        return lambda path: Leaf(f"{stack}.blocks.{index % period}.{path}", index // period)

    return layer


def store(rules: Sequence[Rule], params: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The tensors of the architecture of that name. ValueError where a parameter that it lacks is not zero."""
    _check_cover(rules, params)
    tensors: dict[str, np.ndarray] = {}
    for rule in rules:
        values = [params[path] if row is None else params[path][row] for path, row in rule.ours]
        for (path, row), value in zip(rule.ours, values, strict=True):
            if not rule.theirs and np.any(value):
                where = path if row is None else f"{path}, row {row},"
                raise ValueError(f"parameter {where} is not zero, and {name} has no tensor for it")
        tensors.update(zip(rule.theirs, rule.store(*values), strict=True))
    return tensors


def load(
    rules: Sequence[Rule], shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, np.ndarray], where: str
) -> dict[str, np.ndarray]:
    """Our parameters, float32. Raises ValueError that names missing, extra and misshapen tensors; where: the file."""
    nothing = {path: np.broadcast_to(np.float32(0), shape) for path, shape in shapes.items()}
    expected = store(rules, nothing, where)
    check_tensors(expected, tensors, where)
    params = {path: np.zeros(shape, np.float32) for path, shape in shapes.items()}
    for rule in rules:
        if not rule.theirs:
            continue
        for (path, row), value in zip(rule.ours, rule.load(*(tensors[name] for name in rule.theirs)), strict=True):
            params[path][... if row is None else row] = value
    return params


def _check_cover(rules: Sequence[Rule], params: Mapping[str, np.ndarray]) -> None:
    """Each of our leaves has exactly one rule: ours to keep, whatever the file."""
    found = sorted((path, -1 if row is None else row) for rule in rules for path, row in rule.ours)
    stacked_paths = {path for path, row in found if row >= 0}
    wanted = sorted(
        (path, row)
        for path, value in params.items()
        for row in (range(value.shape[0]) if path in stacked_paths else (-1,))
    )
    assert found == wanted, f"rules and parameters differ: {set(found) ^ set(wanted)}"


def check_tensors(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], where: str) -> None:
    both = [name for name in expected if name in found]
    wrong = [
        f"{name} is {found[name].shape} and not {expected[name].shape}"
        for name in both
        if found[name].shape != expected[name].shape
    ]
    problems = {
        "missing": [f"{name} {expected[name].shape}" for name in expected if name not in found],
        "extra": [name for name in found if name not in expected],
        "misshapen": wrong,
    }
    said = [f"{kind}: {_listed(names)}" for kind, names in problems.items() if names]
    if said:
        raise ValueError(f"{where}: tensors do not fit the config; {'; '.join(said)}")


def _listed(names: list[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
