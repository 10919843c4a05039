"""What one training step must send between devices, reasoned from the model's shapes and the layout.

A payload is the whole of what a collective handles on one device: of a gather
its result, of a scatter what it is given, of a sum either. Every line of the
table says what is sent, how large it is and how often; the reasons stand with
the functions that make them. XLA may leave some sums out, of what it finds to
be the same everywhere: such lines may be absent from a compiled program.

Backward, a gather of activations becomes a scatter and the reverse, a sum stays
a sum, and what goes round a ring goes back. Weights are gathered in the
precision of the compute; their gradients are summed in float32.

No JAX: `scaling.parallel.check` compares this with compiled programs, and a
plan can price it.

Letters: A microbatches of a device, M its tokens of one of them before `tensor`
divides them, D width, n devices of an axis.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from scaling.config import RunConfig, TransformerConfig
from scaling.config.precision import WIDTHS
from scaling.counts import params
from scaling.counts.activations import slots_for
from scaling.counts.sides import Side, sides
from scaling.parallel.hlo import Kind
from scaling.parallel.layout import BATCH_AXES, TOKEN_AXES, Layout
from scaling.parallel.shapes import Leaf, leaves

VOCAB_AXES = ("pipe", "tensor")


class Line(NamedTuple):  # a search over meshes makes a hundred thousand: this is made faster than a dataclass
    """One thing that is sent."""

    what: str
    kind: Kind
    axes: tuple[str, ...]  # in the order of the mesh
    payload_bytes: int  # each time
    times: int = 1  # in one step
    may_be_absent: bool = False  # XLA may find it to be known already

    @property
    def bytes(self) -> int:
        return self.payload_bytes * self.times


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """All that one device sends and receives in a step."""

    lines: tuple[Line, ...]
    layout: Layout

    def between(self, kind: Kind, axes: tuple[str, ...]) -> tuple[int, int]:
        """The least and the most payload bytes of a kind over exactly these axes."""
        found = [line for line in self.lines if (line.kind, line.axes) == (kind, axes)]
        most = sum(line.bytes for line in found)
        return most - sum(line.bytes for line in found if line.may_be_absent), most

    def keys(self) -> tuple[tuple[Kind, tuple[str, ...]], ...]:
        """The kinds and axes that occur."""
        return tuple(dict.fromkeys((line.kind, line.axes) for line in self.lines))

    def sent_bytes(self, *axes: str) -> float:
        """What a device sends over exactly these axes, in order; without any, over all.

        By the algorithms that send least: of n devices each sends (n-1)/n of
        a gathered, scattered or exchanged array, twice that of a sum (which is
        a scatter and a gather), and all of what it passes on
        (Patarasuk & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002).
        """
        return sum(
            line.bytes * _share(line.kind, self.layout.ways(*line.axes))
            for line in self.lines
            if not axes or line.axes == axes
        )

    def by_axis(self) -> dict[str, float]:
        """`sent_bytes` of every axis that divides anything; what goes over several is booked on the first of them.

        The first axis has the slowest links, and they decide.
        """
        return {axis: sum(self.sent_bytes(*over) for over in self._overs() if over[0] == axis)
                for axis in self.layout.axes}  # fmt: skip

    def _overs(self) -> tuple[tuple[str, ...], ...]:
        return tuple(dict.fromkeys(line.axes for line in self.lines))


def _share(kind: Kind, devices: int) -> float:
    if kind == "collective-permute":
        return 1.0
    return (2 if kind == "all-reduce" else 1) * (devices - 1) / devices


def expected(run: RunConfig, layout: Layout) -> Traffic:
    """What a step of a run must send. The layout must be one that `layout_of` allows."""
    if isinstance(run.model, TransformerConfig) and run.objective.kind != "replaced_tokens":
        step = _Step(run=run, model=run.model, layout=layout)
        found = [*step.weights(), *step.gradients(), *step.ends(), *step.stacks(), *step.loss()]
    else:  # copies of a model, whose gradients are summed
        size = 4 * params(run.model, run.objective).total
        found = [Line(what="gradients", kind="all-reduce", axes=("data",), payload_bytes=size)]
    found += _numbers(layout)
    merged: Counter[Line] = Counter()
    for line in found:
        axes = tuple(axis for axis in layout.axes if axis in line.axes)
        if axes and line.bytes:
            merged[line._replace(times=1, axes=axes)] += line.times
    return Traffic(lines=tuple(line._replace(times=times) for line, times in merged.items()), layout=layout)


def _numbers(layout: Layout) -> Iterator[Line]:
    """The loss and the norm of the gradients; and, where they are not the same everywhere, three sums beside them."""
    for what, count in (("loss and norm", 2), ("bearing, auxiliary and dropped", 3)):
        yield Line(
            what=what, kind="all-reduce", axes=layout.axes, payload_bytes=4, times=count, may_be_absent=count == 3
        )


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A transformer's training step."""

    run: RunConfig
    model: TransformerConfig
    layout: Layout

    @property
    def width(self) -> int:
        """Bytes of a number of the compute."""
        return WIDTHS[self.run.precision]

    @property
    def passes(self) -> int:
        """Times that a part of the batch goes through the model, one after another and not in a pipeline."""
        return 1 if self.layout.pipe > 1 else self.layout.microbatches

    @property
    def sequences(self) -> int:
        """Of a device's microbatch."""
        return self.run.batch // self.layout.batch_ways // self.layout.microbatches

    def tokens(self, positions: int) -> int:
        """M."""
        return self.sequences * positions // self.layout.context

    def row_bytes(self, positions: int) -> int:
        """Of (M, D)."""
        return self.tokens(positions) * self.model.dim * self.width

    def weights(self) -> Iterator[Line]:
        """What fsdp divides is gathered before use, and its gradient scattered.

        zero 3: for every pass, in the precision of the compute, and layers
        again for the backward pass; in a pipeline once a step, for the
        encoder too where it has the decoder's. What is gathered again XLA may
        keep instead, and on CPU it does. zero 2 and 1: once a step, in float32; gradients are
        scattered after every pass (2) or once (1).
        """
        layout = self.layout
        for leaf in leaves(self.model):
            if "fsdp" not in leaf.axes(layout):
                continue
            elements = leaf.elements_of_device(layout, but=("fsdp",))
            width, again, scatters = 4, 0, self.passes if layout.zero == 2 else 1
            if layout.zero == 3:
                uses = 2 if leaf.is_layer and self.model.shared_layers and "cross" not in leaf.path else 1
                twice = 2 if leaf.is_layer and layout.pipe == 1 else 1
                width, again, scatters = self.width, self.passes * uses * twice - 1, self.passes * uses
            line = Line(what="weights", kind="all-gather", axes=("fsdp",), payload_bytes=width * elements)
            yield line
            yield line._replace(times=again, may_be_absent=True)
            yield line._replace(
                what="gradients of weights", kind="reduce-scatter", payload_bytes=4 * elements, times=scatters
            )

    def gradients(self) -> Iterator[Line]:
        """Once a step every gradient is summed, in float32, over the devices that hold the same parameters."""
        for leaf in leaves(self.model):
            axes = tuple(axis for axis in self.layout.axes if axis not in leaf.axes(self.layout))
            size = 4 * leaf.elements_of_device(self.layout)
            yield Line(what="gradients", kind="all-reduce", axes=axes, payload_bytes=size)

    def ends(self) -> Iterator[Line]:
        """Around the stacks: rows of the embedding, and states for the head and for a decoder that reads them.

        Every device of `pipe` and `tensor` has some of the vocabulary: a
        token's row is the sum of what they found, of which a device of
        `tensor` keeps its tokens. States are gathered over `tensor` where
        every device needs all of them, and over `context` where targets do not
        stand beside their positions.
        """
        layout, parts = self.layout, self.layout.microbatches
        for side in sides(self.model, self.run.objective):
            rows = self.row_bytes(side.positions)
            yield from _both_ways("rows of the embedding", "reduce-scatter", rows, parts, layout)
            yield _sum("rows of the embedding", ("pipe",), rows // layout.tensor, 2 * parts)
            yield from _both_ways("states", "all-gather", rows, parts, layout)
        found = self.run.lengths
        if found.predicted != found.positions:
            rows = self.sequences * found.positions * self.model.dim * self.width
            yield from _both_ways("states of whole sequences", "all-gather", rows, parts, layout, axis="context")

    def loss(self) -> Iterator[Line]:
        """The softmax over a vocabulary that `pipe` and `tensor` divide: maximum, sum and the target's logit.

        Backward the same of the sum and, where XLA does not know it, of the
        logit. Smoothed targets send gradients of logit and mean as well.
        """
        layout, predicted = self.layout, self.run.lengths.predicted
        if predicted == self.run.lengths.positions:
            predicted //= layout.context
        size, parts = 4 * self.sequences * predicted, layout.microbatches
        yield _sum("softmax", VOCAB_AXES, size, 4 * parts)
        smoothed = 4 * parts if self.run.optim.label_smoothing else 0
        yield _sum("softmax's known gradients", VOCAB_AXES, size, parts + smoothed, may_be_absent=True)
        if self.model.sentence_head:
            yield _sum("loss of sentences", BATCH_AXES, 4, 2 * parts, may_be_absent=True)

    def stacks(self) -> Iterator[Line]:
        """Layers, as often as they run forward, again, and backward; and what the stages of a pipeline pass on."""
        layout = self.layout
        for side in sides(self.model, self.run.objective):
            runs = layout.microbatches
            if layout.pipe > 1:
                runs = layout.ticks
                yield from self._pipeline(side, runs)
            stage = range(side.layers // (layout.pipe * layout.repeats))
            yield from _looped(runs, self._forward(side, stage))
            for mixed, layers in Counter(map(self.model.has_experts, stage)).items():
                yield from _times(runs * layers, self._backward(side, mixed))
            if layout.pipe > 1:  # a tick is computed again
                yield from _looped(runs, self._again(side, stage))
            if layout.remat == "block":  # and every block; XLA may see that it has been already, and on CPU it does
                yield from _known(_times(runs, self._forward(side, stage)))

    def _pipeline(self, side: Side, ticks: int) -> Iterator[Line]:
        """Every tick hands a microbatch on, forward and back; what leaves the last stage is given to all."""
        layout = self.layout
        rows = self.row_bytes(side.positions) // layout.tensor
        yield Line(what="microbatches", kind="collective-permute", axes=("pipe",), payload_bytes=rows, times=2 * ticks)
        yield _sum("states of the last stage", ("pipe",), rows, 2 * layout.microbatches)
        yield _sum("losses of routers", ("pipe",), 4, 4, may_be_absent=True)

    def _forward(self, side: Side, stage: range) -> Iterator[Line]:
        """Layers once."""
        for mixed, layers in Counter(map(self.model.has_experts, stage)).items():
            yield from _times(layers, self._layer(side, mixed))

    def _again(self, side: Side, stage: range) -> Iterator[Line]:
        """Layers once more, as far as their gradients need: not the last sum of a branch, where it is just added."""
        yield from self._forward(side, stage[:-1])
        last = list(self._layer(side, self.model.has_experts(stage[-1])))
        yield from last[:-1] if last[-1].kind == "reduce-scatter" and self.model.norm_place == "pre" else last

    def _layer(self, side: Side, mixed: bool) -> Iterator[Line]:
        """Attentions and an MLP each gather their rows and scatter their sums; heads and widths are divided."""
        rows = self.row_bytes(side.positions)
        branches = 2 if side.source else 1
        for keys in (side.positions, side.source)[:branches]:
            yield _rows("all-gather", rows)
            yield from self._ring(keys, is_backward=False)
            yield _rows("reduce-scatter", rows)
        if mixed:
            yield from self._experts(side)
        else:
            yield from (_rows("all-gather", rows), _rows("reduce-scatter", rows))

    def _backward(self, side: Side, mixed: bool) -> Iterator[Line]:
        rows = self.row_bytes(side.positions)
        branches = 2 if side.source else 1
        for keys in (side.positions, side.source)[:branches]:
            yield from self._ring(keys, is_backward=True)
        maps = branches + (1 if not mixed or self.model.moe.shared else 0)
        yield from _times(maps, (_rows("all-gather", rows), _rows("reduce-scatter", rows)))
        if mixed:
            yield from self._experts_backward(side)

    def _ring(self, keys: int, *, is_backward: bool) -> Iterator[Line]:
        """Keys and values visit the other n - 1 shards; backward again, with the float32 sums of their gradients."""
        layout, model = self.layout, self.model
        elements = self.tokens(keys) * model.key_heads // layout.tensor * model.head_dim
        visits = layout.context - 1
        one = Line(
            what="keys and values", kind="collective-permute", axes=("context",),
            payload_bytes=elements * self.width, times=2 * visits,
        )  # fmt: skip
        yield one
        if is_backward:
            yield one._replace(what="gradients of keys and values", payload_bytes=4 * elements)
        yield one._replace(what="documents", payload_bytes=4 * self.tokens(keys), times=visits, may_be_absent=True)

    def _experts(self, side: Side) -> Iterator[Line]:
        """Rows travel to their experts with their numbers, and back; experts' widths are gathered over `tensor`.

        The router's losses are of all tokens: visits and mean probabilities
        of each expert, the z-loss and the share dropped.
        """
        moe = self.model.moe
        slots = self._slots(side)
        rows = slots * self.model.dim * self.width
        yield _exchange("rows of experts", rows, 2)
        yield _exchange("numbers of experts", 4 * slots, 1)
        for leaf in self._routed():
            yield Line(
                what="weights of experts", kind="all-gather", axes=("tensor",),
                payload_bytes=self.width * self._of_one_layer(leaf),
            )  # fmt: skip
        yield _sum("router", TOKEN_AXES, 4 * (2 * moe.experts + 2), 1, may_be_absent=True)
        if moe.shared:
            whole = self.row_bytes(side.positions)
            yield from (_rows("all-gather", whole), _rows("reduce-scatter", whole))

    def _experts_backward(self, side: Side) -> Iterator[Line]:
        moe = self.model.moe
        yield _exchange("rows of experts", self._slots(side) * self.model.dim * self.width, 2)
        for leaf in self._routed():
            yield Line(
                what="gradients of experts", kind="reduce-scatter", axes=("tensor",),
                payload_bytes=4 * self._of_one_layer(leaf),
            )  # fmt: skip
        yield _sum("router", TOKEN_AXES, 4 * (moe.experts + 1), 1, may_be_absent=True)

    def _slots(self, side: Side) -> int:
        """Rows of all the buffers of an exchange, G L in `models.exchange`; 0 where experts are not divided."""
        if self.layout.expert == 1:
            return 0
        return slots_for(self.model, self.tokens(side.positions) // self.layout.tensor, self.layout)

    def _routed(self) -> Iterable[Leaf]:
        """Matrices of the routed experts of a layer."""
        if self.layout.tensor == 1:
            return []
        found = (leaf for leaf in leaves(self.model) if leaf.is_layer and leaf.dims[1:2] == ("experts",))
        return list({leaf.path[-1]: leaf for leaf in found}.values())

    def _of_one_layer(self, leaf: Leaf) -> int:
        return leaf.elements // leaf.shape[0] // self.layout.expert


def _both_ways(what: str, kind: Kind, size: int, times: int, layout: Layout, *, axis: str = "tensor") -> Iterator[Line]:
    """A gather or scatter of activations, and the other backward."""
    for each in ("all-gather", "reduce-scatter") if kind == "all-gather" else ("reduce-scatter", "all-gather"):
        yield Line(what=what, kind=each, axes=(axis,), payload_bytes=size, times=times)


def _rows(kind: Kind, size: int) -> Line:
    return Line(what="rows of branches", kind=kind, axes=("tensor",), payload_bytes=size)


def _exchange(what: str, size: int, times: int) -> Line:
    return Line(what=what, kind="all-to-all", axes=("expert",), payload_bytes=size, times=times)


def _sum(what: str, axes: tuple[str, ...], size: int, times: int, *, may_be_absent: bool = False) -> Line:
    return Line(what=what, kind="all-reduce", axes=axes, payload_bytes=size, times=times, may_be_absent=may_be_absent)


def _times(times: int, lines: Iterable[Line]) -> Iterator[Line]:
    for line in lines:
        yield line._replace(times=line.times * times)


def _looped(runs: int, lines: Iterable[Line]) -> Iterator[Line]:
    """`_times` of a loop; weights are the same in all its runs, and what gathers them XLA may move out of it."""
    for line in lines:
        if line.what != "weights of experts":
            yield line._replace(times=line.times * runs)
        else:
            yield line
            yield line._replace(times=line.times * (runs - 1), may_be_absent=True)


def _known(lines: Iterable[Line]) -> Iterator[Line]:
    for line in lines:
        yield line._replace(may_be_absent=True)
