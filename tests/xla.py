"""How the tests' programs are compiled, here and in the processes that they start."""

# Hundreds of small programs are compiled and run once or twice: XLA compiles them six times as fast unoptimised.
QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
