"""One run: everything that decides what it learns, and, apart from that, where it is trained."""

from functools import cache, cached_property
from typing import Annotated, Any, Literal

from scaling.config.baselines import NgramConfig, RecurrentConfig, Word2VecConfig
from scaling.config.data import DataConfig
from scaling.config.fields import ToldApartByKind, frozen, require, strict
from scaling.config.identity import run_id
from scaling.config.lengths import Lengths, lengths
from scaling.config.objective import NextToken, ObjectiveConfig
from scaling.config.precision import Precision, eight_bits
from scaling.config.transformer import TransformerConfig

ModelConfig = Annotated[
    TransformerConfig | RecurrentConfig | NgramConfig | Word2VecConfig, ToldApartByKind("transformer")
]


@strict
@frozen
class OptimConfig:
    """AdamW with decoupled weight decay on matrices (Loshchilov & Hutter 2019)."""

    lr: float = 3e-3  # peak
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # multiplied by the current learning rate
    clip: float = 1.0  # global gradient norm
    label_smoothing: float = 0.0  # share of each target spread over the vocabulary, in training only
    spike_factor: float | None = None  # a gradient longer than so many times its running mean is skipped; None: none is
    max_skips: int = 10  # in a row, of spikes or of gradients that are not finite, before the run has diverged

    def __post_init__(self) -> None:
        for name in ("lr", "eps", "clip"):
            require(getattr(self, name) > 0, f"OptimConfig.{name}={getattr(self, name)}", "must be positive")
        require(self.weight_decay >= 0, f"OptimConfig.weight_decay={self.weight_decay}", "must not be negative")
        require(
            self.spike_factor is None or self.spike_factor > 1,
            f"OptimConfig.spike_factor={self.spike_factor}",
            "must be above 1, such as 10; leave it out to skip no spikes",
        )
        require(self.max_skips > 0, f"OptimConfig.max_skips={self.max_skips}", "must be positive")
        for name in ("beta1", "beta2", "label_smoothing"):
            require(0 <= getattr(self, name) < 1, f"OptimConfig.{name}={getattr(self, name)}", "must be in [0, 1)")


@strict
@frozen
class ScheduleConfig:
    """The learning rate over a run, as a share of its peak.

    Warm-up is linear. `wsd` holds the peak and cools over the last
    `decay_fraction` of the run by 1 - sqrt (Hägele et al. 2024,
    arXiv:2405.18392); `constant` never cools: it is what a trunk uses.
    """

    kind: Literal["constant", "cosine", "linear", "wsd"] = "wsd"
    warmup_tokens: int = 0
    decay_fraction: float = 0.2  # wsd only
    final_share: float = 0.0  # of the peak, at the last step

    def __post_init__(self) -> None:
        require(self.warmup_tokens >= 0, f"ScheduleConfig.warmup_tokens={self.warmup_tokens}", "must not be negative")
        require(
            0 < self.decay_fraction <= 1, f"ScheduleConfig.decay_fraction={self.decay_fraction}", "must be in (0, 1]"
        )
        require(0 <= self.final_share < 1, f"ScheduleConfig.final_share={self.final_share}", "must be in [0, 1)")


@strict
@frozen
class Trunk:
    """The run whose path this run shares up to `tokens`."""

    run_id: str
    tokens: int


@strict
@frozen
class RunConfig:
    """Everything that decides what one run learns."""

    model: ModelConfig
    data: DataConfig
    tokens: int  # horizon: tokens of text seen from the first step on, the trunk's included
    batch: int = 16  # sequences a step
    objective: ObjectiveConfig = NextToken()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    precision: Precision = "float32"  # of the compute; parameters stay float32
    seed: int = 0  # of the initialisation and the order of the data
    trunk: Trunk | None = None

    def __post_init__(self) -> None:
        _check_together(self.model, self.objective, self.data, self.precision)
        require(self.batch > 0, f"RunConfig.batch={self.batch}", "must be positive")
        require(
            self.tokens > 0 and self.tokens % self.batch_tokens == 0,
            f"RunConfig.tokens={self.tokens} is no positive multiple of batch * tokens a sequence = "
            f"{self.batch} * {self.text} = {self.batch_tokens}",
            f"the nearest is {max(1, round(self.tokens / self.batch_tokens)) * self.batch_tokens}",
        )
        require(
            self.schedule.warmup_tokens <= self.tokens,
            f"RunConfig: warm-up of {self.schedule.warmup_tokens} tokens outlasts the run's {self.tokens}",
            "shorten schedule.warmup_tokens",
        )
        if self.trunk is not None:
            require(
                0 < self.trunk.tokens <= self.tokens and self.trunk.tokens % self.batch_tokens == 0,
                f"RunConfig.trunk.tokens={self.trunk.tokens}",
                f"must be a multiple of {self.batch_tokens} up to tokens={self.tokens}",
            )
            self._check_stages_after(self.trunk.tokens)

    def _check_stages_after(self, tokens: int) -> None:
        """A trunk reads none of a branch's stages, so they begin where the branch leaves it, or later."""
        for stage in self.data.mixture.stages[:1] if self.data.mixture else ():
            begins = stage.first_step(self.steps) * self.batch_tokens
            require(
                begins >= tokens,
                f"RunConfig.data.mixture: a stage begins at {begins} tokens, but its trunk is followed up to {tokens}",
                f"start it at {tokens / self.tokens:g} or later",
            )

    @cached_property  # asked for many times; hashing a model to look it up takes longer than all else
    def lengths(self) -> Lengths:
        """Positions of each side, for a sequence."""
        return lengths(self.model, self.objective)

    @property
    def text(self) -> int:
        """Tokens of text a sequence."""
        return self.lengths.text

    @property
    def completions(self) -> bool:
        """Whether prompts bear no loss."""
        return isinstance(self.objective, NextToken) and self.objective.completions

    @property
    def batch_tokens(self) -> int:
        return self.batch * self.text

    @property
    def steps(self) -> int:
        return self.tokens // self.batch_tokens

    @property
    def cluster(self) -> str:
        """Runs that share a trunk share its noise: the unit of the bootstrap."""
        return self.trunk.run_id if self.trunk else run_id(self)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Runs of equal shape share one compiled step."""
        data = self.data
        return (
            self.model,
            self.objective,
            self.batch,
            self.precision,
            data.specials,
            data.document_attention,
            data.packing,
            data.heldout_sequences,
        )


@cache
def _check_together(model: ModelConfig, objective: ObjectiveConfig, data: DataConfig, precision: Precision) -> None:
    """What a run's parts ask of each other. Thousands of runs share a few of each."""
    completions = isinstance(objective, NextToken) and objective.completions
    require(
        eight_bits(precision) is None or (isinstance(model, TransformerConfig) and objective.kind != "replaced_tokens"),
        f"RunConfig.precision={precision!r} with a {type(model).__name__} and objective {objective.kind!r}",
        "take bfloat16: 8 bits are for a transformer's linear maps",
    )
    needed = lengths(model, objective).specials  # raises for an architecture that cannot learn the objective
    require(
        data.specials >= needed,
        f"RunConfig.objective={objective.kind!r} needs {needed} special tokens, but data.specials={data.specials}",
        f"set data.specials={needed} and model.vocab={data.vocab + needed}",
    )
    require(
        model.vocab == data.total_vocab,
        f"RunConfig: model.vocab={model.vocab} but data.vocab={data.vocab} + specials={data.specials}",
        f"set model.vocab={data.total_vocab}",
    )
    pairs = getattr(objective, "next_sentence", False)
    require(
        pairs == getattr(model, "sentence_head", False),
        f"RunConfig: objective.next_sentence={pairs} with model.sentence_head={not pairs}",
        "give both or neither",
    )
    require(
        not data.document_attention or objective.kind == "next_token",
        f"RunConfig: data.document_attention with objective {objective.kind!r}",
        "leave document_attention out: only next_token restricts attention to documents",
    )
    require(
        data.packing == "stream" or isinstance(model, TransformerConfig),
        f"RunConfig: data.packing={data.packing!r} with a {type(model).__name__}",
        "leave packing out: only a transformer can be kept from looking into the document before",
    )
    require(
        not (completions and isinstance(model, NgramConfig)),
        "RunConfig.objective.completions=True with an n-gram model",
        "leave completions out: what is counted is every token",
    )
    require(
        data.has_prompts or not (completions or objective.kind == "completion"),
        f"RunConfig.objective={objective} on documents without prompts",
        "name the prompts' field in Source.prompt_field, or choose another objective",
    )
    require(
        objective.kind != "completion" or (data.mixture is None and data.most_tokens is None),
        "RunConfig: objective 'completion' with data.mixture or data.most_tokens",
        "leave both out: each pass reads every pair of one source once",
    )
