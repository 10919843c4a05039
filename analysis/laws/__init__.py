"""The catalogue of laws. `from analysis import fit, laws; fit(laws.chinchilla, table)`.

Each law is stated in its module with its equation, source and units:
`help(laws.pretraining)`, or `print(laws.chinchilla.doc)` for one.
"""

from analysis.laws.annealing import annealing_columns, multi_power, multi_power_columns, stack, tissue
from analysis.laws.architecture import (
    Compression,
    compression,
    encoder_decoder,
    granular_moe,
    routing,
    sparsity,
    vocabulary,
)
from analysis.laws.bits import effective_params, post_training, precision
from analysis.laws.constrained import data_constrained
from analysis.laws.curves import bnsl, m1, m2, m3, m4, power_law, power_law_offset
from analysis.laws.downstream import Chain, accuracy_from_loss, bounded_error, chain, error_from_loss, shifted_power
from analysis.laws.hyperparameters import deepseek_batch, deepseek_lr, product_law, step_law_batch, step_law_lr
from analysis.laws.inference import best_of_n_kl, coverage, reward_best_of_n, reward_rl, train_to_test
from analysis.laws.mixtures import mixture
from analysis.laws.pretraining import (
    chinchilla,
    critical_batch,
    farseer,
    farseer_as_published,
    kaplan,
    kaplan_compute,
    kaplan_data,
    kaplan_offset,
    kaplan_size,
    kaplan_steps,
    kernel,
    least_flops,
    least_steps,
    overtraining,
    overtraining_as_chinchilla,
)
from analysis.laws.transfer import distillation, finetuning, transferred_data

__all__ = [
    "Chain",
    "Compression",
    "accuracy_from_loss",
    "annealing_columns",
    "best_of_n_kl",
    "bnsl",
    "bounded_error",
    "chain",
    "chinchilla",
    "compression",
    "coverage",
    "critical_batch",
    "data_constrained",
    "deepseek_batch",
    "deepseek_lr",
    "distillation",
    "effective_params",
    "encoder_decoder",
    "error_from_loss",
    "farseer",
    "farseer_as_published",
    "finetuning",
    "granular_moe",
    "kaplan",
    "kaplan_compute",
    "kaplan_data",
    "kaplan_offset",
    "kaplan_size",
    "kaplan_steps",
    "kernel",
    "least_flops",
    "least_steps",
    "m1",
    "m2",
    "m3",
    "m4",
    "mixture",
    "multi_power",
    "multi_power_columns",
    "overtraining",
    "overtraining_as_chinchilla",
    "post_training",
    "power_law",
    "power_law_offset",
    "precision",
    "product_law",
    "reward_best_of_n",
    "reward_rl",
    "routing",
    "shifted_power",
    "sparsity",
    "stack",
    "step_law_batch",
    "step_law_lr",
    "tissue",
    "train_to_test",
    "transferred_data",
    "vocabulary",
]
