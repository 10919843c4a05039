"""How a run is spread over devices: a placement, made definite for a model, a batch and a number of devices.

No JAX: planning checks layouts too. A layout that cannot be is refused here,
before anything is compiled.
"""

from collections.abc import Callable
from functools import cached_property

from scaling.config import Placement, RunConfig, TransformerConfig
from scaling.config.fields import frozen
from scaling.config.placement import AXES

BATCH_AXES = ("data", "fsdp", "expert")  # each holds other sequences
TOKEN_AXES = (*BATCH_AXES, "context", "tensor")  # between blocks each device has other tokens


@frozen
class Layout:
    """Sizes of the mesh axes, and how the work is cut. Part of what a step is compiled for."""

    data: int = 1
    fsdp: int = 1
    expert: int = 1
    pipe: int = 1
    context: int = 1
    tensor: int = 1
    zero: int = 3
    repeats: int = 1
    microbatches: int = 1
    remat: str = "none"

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The axes that divide anything, in the order of the mesh."""
        return tuple(axis for axis in AXES if getattr(self, axis) > 1)

    def over(self, *axes: str) -> tuple[str, ...]:
        """Those of the axes that divide anything."""
        return tuple(axis for axis in axes if axis in self.axes)

    def ways(self, *axes: str) -> int:
        """Into how many parts the axes divide together."""
        ways = 1
        for axis in axes:
            ways *= getattr(self, axis)
        return ways

    @property
    def devices(self) -> int:
        return self.ways(*AXES)

    @property
    def batch_ways(self) -> int:
        return self.ways(*BATCH_AXES)

    @property
    def ticks(self) -> int:
        """Steps of the pipeline's schedule, R A + P - 1; without a pipeline its microbatches."""
        return self.repeats * self.microbatches + self.pipe - 1

    @property
    def forward_passes(self) -> int:
        """How often a block's forward pass is computed: again for each tick of a pipeline, and for each block."""
        return 1 + (self.pipe > 1) + (self.remat == "block")

    @property
    def bubble(self) -> float:
        """Share of the schedule in which a stage is idle."""
        return (self.pipe - 1) / self.ticks


ALONE = Layout()


def layout_of(run: RunConfig, placement: Placement, devices: int) -> Layout:
    """The layout of a run on so many devices. Raises ValueError where it cannot be, with the nearest that can."""
    if devices < 1:
        raise ValueError(f"a run on devices={devices}; at least one is needed")
    sizes = {axis: getattr(placement, axis) for axis in AXES}
    others = 1
    for axis in AXES[1:]:
        others *= sizes[axis]
    if sizes["data"] == -1:
        sizes["data"] = max(1, devices // others)
    layout = Layout(
        **sizes,
        zero=placement.zero,
        repeats=placement.repeats,
        microbatches=placement.microbatches,
        remat=placement.remat,
    )
    if layout.devices != devices:
        product = " * ".join(f"{axis}={sizes[axis]}" for axis in AXES if sizes[axis] > 1 or axis == "data")
        fits = _nearest(devices // max(1, layout.devices // layout.data), lambda n: devices % (n * others) == 0)
        raise ValueError(
            f"Placement: {product} = {layout.devices}, but there are {devices} devices; "
            + (f"with data={fits} they would all be used" if devices % others == 0 else _fewer(placement, devices))
        )
    _check_batch(run, layout)
    if isinstance(run.model, TransformerConfig):
        _check_transformer(run, run.model, layout)
    else:
        _only_data(layout, f"model kind {run.model.kind!r}")
    return layout


def _fewer(placement: Placement, devices: int) -> str:
    for axis in AXES[1:]:
        size = getattr(placement, axis)
        if size > 1 and devices % size:
            return f"{axis}={_nearest(size, lambda n: devices % n == 0)} would divide them"
    return "make the axes smaller, or give more devices"


def _nearest(wanted: int, valid: Callable[[int], bool]) -> int:
    """The valid number nearest to the wanted one; 1 must be valid."""
    for distance in range(wanted + 1):
        for number in (wanted - distance, wanted + distance):
            if number > 0 and valid(number):
                return number
    return 1


def _divides(what: str, value: int, axis: str, parts: int) -> None:
    """Raise unless `parts` divides `value`."""
    if value % parts:
        nearest = _nearest(parts, lambda n: value % n == 0)
        raise ValueError(
            f"Placement.{axis}={parts} does not divide {what}={value}; the nearest that does is {axis}={nearest}"
        )


def _check_batch(run: RunConfig, layout: Layout) -> None:
    parts = layout.batch_ways * layout.microbatches
    if run.batch % parts:
        multiple = max(1, round(run.batch / parts)) * parts
        named = ", ".join(f"{axis}={getattr(layout, axis)}" for axis in (*BATCH_AXES, "microbatches"))
        raise ValueError(
            f"RunConfig.batch={run.batch} cannot be cut into {parts} equal parts ({named}); "
            f"the nearest batch is {multiple}, the nearest microbatches with this batch is "
            f"{_nearest(layout.microbatches, lambda n: run.batch % (n * layout.batch_ways) == 0)}"
        )
    if layout.pipe > 1 and layout.repeats > 1 and layout.microbatches < layout.pipe:
        raise ValueError(
            f"Placement.microbatches={layout.microbatches} with pipe={layout.pipe}, repeats={layout.repeats}: "
            f"a circular pipeline needs a microbatch for every stage; set microbatches={layout.pipe} or more"
        )


def _check_transformer(run: RunConfig, model: TransformerConfig, layout: Layout) -> None:
    _divides("model.heads", model.heads, "tensor", layout.tensor)
    _divides("model.kv_heads", model.key_heads, "tensor", layout.tensor)
    _divides("model.mlp_dim", model.hidden_dim, "tensor", layout.tensor)
    if run.objective.kind == "replaced_tokens":
        return _only_data(layout, "objective 'replaced_tokens'")
    vocab_ways = layout.ways("pipe", "tensor")
    if model.vocab % vocab_ways:
        wanted = round(model.vocab / vocab_ways) * vocab_ways
        raise ValueError(
            f"Placement.tensor={layout.tensor} * pipe={layout.pipe} does not divide model.vocab={model.vocab}; "
            f"the nearest vocabulary is {wanted}: set data.vocab={wanted - run.data.specials}"
        )
    _divides("model.dim", model.dim, "fsdp", layout.fsdp)
    for side, layers in (("encoder", model.depth_of_encoder), ("decoder", model.depth_of_decoder)):
        if layers:
            _check_stages(model, side, layers, layout)
    if model.moe is not None:
        _divides("model.moe.experts", model.moe.experts, "expert", layout.expert)
        _divides("model.expert_dim", model.expert_dim, "tensor", layout.tensor)
    elif layout.expert > 1:
        raise ValueError(
            f"Placement.expert={layout.expert}, but the model has no experts (model.moe is not set); "
            f"set expert=1, for example data={layout.data * layout.expert}"
        )
    for name, length in (("positions", run.lengths.positions), ("source", run.lengths.source)):
        if length:
            _check_length(run, name, length >> getattr(run.objective, "shapes", 1) - 1, layout)


def _check_length(run: RunConfig, name: str, length: int, layout: Layout) -> None:
    step = 2 * layout.context
    if layout.context > 1 and length % step:
        raise ValueError(
            f"Placement.context={layout.context}: a sequence of {length} {name} is no multiple of 2 * context = "
            f"{step}; the nearest are {length // step * step} and {-(-length // step) * step}"
        )
    rows = run.batch // layout.batch_ways // layout.microbatches * (length // layout.context)
    if rows % layout.tensor:
        raise ValueError(
            f"Placement.tensor={layout.tensor}: a device's part of a microbatch has {rows} tokens ({name}), which "
            f"{layout.tensor} devices cannot share equally; the nearest is "
            f"tensor={_nearest(layout.tensor, lambda n: rows % n == 0)}"
        )


def _check_stages(model: TransformerConfig, side: str, layers: int, layout: Layout) -> None:
    period = len(model.period(layers))
    parts = layout.pipe * layout.repeats
    if layout.pipe > 1 and (layers // period) % parts:
        step = parts * period
        below, above = layers // step * step, -(-layers // step) * step
        alike = f" of {period} kinds in turn" if period > 1 else ""
        stages = _nearest(layout.pipe, lambda n: (layers // period) % (n * layout.repeats) == 0)
        raise ValueError(
            f"Placement.pipe={layout.pipe} * repeats={layout.repeats}: {layers} layers{alike} of the {side} do not "
            f"divide into {parts} stages; the nearest are pipe={stages}, or "
            + (f"{below} or {above} layers" if below else f"{above} layers")
        )


def _only_data(layout: Layout, what: str) -> None:
    for axis in layout.axes:
        if axis != "data":
            raise ValueError(
                f"Placement.{axis}={getattr(layout, axis)}: {what} is trained with the data axis only; set {axis}=1"
            )
