"""How the tests' programs are compiled, here and in the processes that they start."""

from importlib.metadata import version

# Hundreds of small programs are compiled and run once or twice: XLA compiles them six times as fast unoptimised.
QUICKLY = "--xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):  # later ones have no other emitters left, and end at a flag they do not know
    QUICKLY += " --xla_cpu_use_fusion_emitters=false"
