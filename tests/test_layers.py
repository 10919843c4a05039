"""The direction of imports: launch -> experiments -> scaling <- analysis."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "scaling": {"launch", "experiments", "analysis"},
    "experiments": {"launch", "analysis"},
    "analysis": {"launch", "experiments"},
}
WITHOUT_JAX = ("config", "counts", "roofline", "plan", "record", "curve", "outcome", "sizes", "data.batches")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_only_in_the_direction_of_the_house(folder):
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {str(path): both for path in files if (both := imported(path) & FORBIDDEN[folder])}
    assert not wrong


def test_analysis_meets_training_only_through_files():
    training = ("scaling.training", "scaling.models", "scaling.data")
    text = {path: path.read_text(encoding="utf-8") for path in (ROOT / "analysis").rglob("*.py")}
    assert not [str(path) for path, code in text.items() if any(name in code for name in training)]


@pytest.mark.parametrize(
    "module",
    [f"scaling.{name}" for name in WITHOUT_JAX] + ["launch.cli", "launch.launch_command", "launch.train_command"],
)
def test_planning_and_help_import_no_jax(module):
    code = f"import sys, {module}; sys.exit('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


HEAVY = ("pydantic", "orbax", "sentencepiece", "grain", "filelock", "wandb", "pyarrow", "tyro", "matplotlib")


@pytest.mark.parametrize("module", ["scaling.training.many", "benchmarks.accelerator", "benchmarks.accelerator_parts"])
def test_a_training_step_and_its_benchmark_need_jax_flax_optax_and_numpy_alone(module):
    # A name that stands for None in sys.modules raises ImportError when it is imported.
    code = f"import sys; sys.modules |= dict.fromkeys({HEAVY}); import {module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_package_init_is_empty_or_hands_on_names():
    for folder in (*FORBIDDEN, "launch"):
        for path in (ROOT / folder).rglob("__init__.py"):
            first, *rest = ast.parse(path.read_text(encoding="utf-8")).body or [ast.Expr(ast.Constant(""))]
            assert isinstance(first, ast.Expr), path  # the docstring
            for node in rest:
                named = isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
                assert named or isinstance(node, ast.ImportFrom), f"{path}: line {node.lineno}"
