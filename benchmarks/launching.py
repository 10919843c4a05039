"""What the launcher itself takes, as its user meets it: whole commands, start-up and imports included.

    python -m benchmarks.launching [--runs 10000] [--trained 1000] [--counted 1000] [--repeats 3] \\
        [--root DIR] [--out FILE]

Writes a study of small models as a TOML file, on a few kilobytes of text, into a
temporary folder, and a finished record for each of its runs. Then times
`scaling plan FILE`, `scaling status STUDY` and `scaling launch FILE` (nothing is
left to train, the report stands), and looks at the memory of a launch of the same
study with nothing trained, when its pool has trained some runs. At last the real
pool trains the smallest transformers for twenty steps each, and counts n-gram models,
which take it milliseconds: the share of its workers' time that lies between the
beginning and the end of a run, as the runs' own folders tell it.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import command, machine, save
from benchmarks.planning import write_records
from scaling.attempts import begin, end
from scaling.config import Placement, run_id
from scaling.data.prepare import prepare
from scaling.plan import pin
from scaling.record import RunDirectory
from scaling.sweeps.study_file import read
from scaling.workspace import Workspace

TARGETS = {"plan_toml": 5.0, "status": 3.0, "launch_again": 5.0}  # seconds
MEGABYTES = 300.0  # of a launcher
BUSY = 0.95  # of the workers' time
SCALING = [sys.executable, "-m", "launch.cli"]
SOURCE = 'source = {{ kind = "folder", path = "{text}" }}, tokenizer = "bytes", vocab = 257, heldout_sequences = 4'

SMALLEST = {  # what a trivial run trains, for how many tokens
    "trained": ("dim = 8, layers = 1, heads = 1, context = 16", 64 * 20),
    "counted": ('kind = "ngram", order = 2, context = 16', 64),
}

MANY = """
name = "many"
question = "How long does it take?"
[base]
tokens = 64
batch = 4
model = {{ dim = 8, layers = 1, heads = 1, context = 16 }}
data = {{ {source} }}
[[sweep]]
grid = {{ "model.dim" = [8, 16, 24, 32, 40], "model.layers" = [1, 2], "optim.beta2" = [0.9, 0.95, 0.98, 0.99, 0.999] }}
[[sweep]]
random = {{ count = {points}, ranges = {{ "optim.lr" = {{ low = 1e-3, high = 1e-1, scale = "log" }} }} }}
[[sweep]]
derive = {{ "optim.lr" = {{ times = "optim.lr", of = "model.dim", power = -1, at = 8 }} }}
[[sweep]]
where = {{ field = "optim.lr", at_most = 0.2 }}
[[sweep]]
seeds = [0, 1, 2, 3]
"""
TRIVIAL = """
name = "{name}"
question = "How much of its workers' time does the pool use?"
[base]
tokens = {tokens}
batch = 4
model = {{ {model} }}
data = {{ {source} }}
[[sweep]]
seeds = {runs}
"""


def main() -> None:
    options = _options()
    before, root = machine(), options.root or Path(tempfile.mkdtemp(prefix="launching-"))
    try:
        result = measure(options, root)
    finally:
        if options.root is None:
            shutil.rmtree(root)
    said = {"machine": before, "load_after": os.getloadavg(), "command": command(), "runs": options.runs}
    targets = {**TARGETS, "launcher_megabytes": MEGABYTES, "pool_busy": BUSY}
    save({**said, **result, "targets": targets}, options.out)


def measure(options: argparse.Namespace, root: Path) -> dict:
    text = root / "text"
    text.mkdir(parents=True, exist_ok=True)
    for number in range(40):
        (text / f"{number}.txt").write_text(" ".join(f"word {number * k % 97}" for k in range(200)), encoding="utf-8")
    source = SOURCE.format(text=text)
    many = root / "many.toml"
    many.write_text(MANY.format(source=source, points=options.runs // 200), encoding="utf-8")
    done = Workspace(root=root / "done")
    if not done.reports.exists():
        write_done(many, done)
    for name in ("begun", *SMALLEST):
        shutil.rmtree(root / name, ignore_errors=True)
    found = {"seconds": whole_commands(many, done, options.repeats)}
    shutil.copytree(done.root / "datasets", root / "begun" / "datasets")
    found["launcher_megabytes"] = memory_under_way(many, root / "begun")
    print(f"launcher with {options.runs} runs to train: {found['launcher_megabytes']:.0f} MB, target {MEGABYTES:g}")
    found["pool"] = {}
    for name, (model, tokens) in SMALLEST.items():
        trivial, runs = root / f"{name}.toml", getattr(options, name)
        text = TRIVIAL.format(name=name, model=model, tokens=tokens, source=source, runs=runs)
        trivial.write_text(text, encoding="utf-8")
        found["pool"][name] = pool(trivial, root / name, runs)
    return found


def write_done(path: Path, workspace: Workspace) -> None:
    """The study's plan, a record for each of its runs, and a report, as if it had been trained."""
    study = read(path)
    stores = {data: prepare(data, workspace.root, print) for data in study.datasets}
    study = pin(study, lambda data: replace(data, content=stores[data].manifest.content))
    study = replace(study, placement=Placement(tracking="off"))
    write_records(study, workspace)
    for run in study.runs:
        directory = RunDirectory(workspace.runs / run_id(run))
        end(directory, begin(directory), "finished")
    page = workspace.reports / study.name / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("", encoding="utf-8")  # what launching again takes for the report, and leaves alone
    newest = time.time() + 1e6  # than a plan that is written again, too
    os.utime(page, (newest, newest))


def whole_commands(path: Path, workspace: Workspace, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds from the start of a process to its end."""
    where = ["--root", str(workspace.root)]
    calls = {
        "plan_toml": ["plan", str(path), "--json"],
        "status": ["status", path.stem, *where],
        "launch_again": ["launch", str(path), *where, "--tracking", "off"],
    }
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, words in calls.items():
            started = time.perf_counter()
            subprocess.run([*SCALING, *words], check=True, stdout=subprocess.DEVNULL)
            took[name].append(time.perf_counter() - started)
    for name, all_ in took.items():
        middle, best = statistics.median(all_), min(all_)
        print(f"{name:16} median {middle:7.2f} s   best {best:7.2f} s   target {TARGETS[name]:g}")
    return {name: {"median": statistics.median(all_), "best": min(all_)} for name, all_ in took.items()}


def memory_under_way(path: Path, root: Path) -> float:
    """The most memory that a launcher had when its pool had trained ten runs, in MB; its data were prepared before."""
    words = ["launch", str(path), "--root", str(root), "--tracking", "off"]
    launcher = subprocess.Popen([*SCALING, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(root.glob("runs/*/record.json"))) < 10:
        if launcher.poll() is not None:
            raise RuntimeError(
                f"the launch of {path} ended with code {launcher.returncode} before ten runs were trained"
            )
        time.sleep(0.5)
    # Of the launcher alone: what the system says when it has ended counts its workers too.
    (peak,) = (line for line in Path(f"/proc/{launcher.pid}/status").read_text().splitlines() if "VmHWM" in line)
    launcher.send_signal(signal.SIGTERM)
    launcher.wait()
    return int(peak.split()[1]) * 1.024e-3


def pool(path: Path, root: Path, runs: int) -> dict[str, float]:
    """How the pool's workers spent their time. Between two runs they are told what is next."""
    words = ["launch", str(path), "--root", str(root), "--tracking", "off"]
    started = time.time()
    # Without a law to fit in them, the report says so and the command ends with a code other than 0.
    subprocess.run([*SCALING, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    begun: dict[int, list[tuple[float, float]]] = {}
    for file in root.glob("runs/*/attempts.jsonl"):
        begin, end = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
        begun.setdefault(begin["pid"], []).append((begin["time"], end["time"]))
    spans = [(min(times)[0], max(end for _, end in times)) for times in begun.values()]
    inside = sum(end - begin for times in begun.values() for begin, end in times)
    between = sum(end - begin for begin, end in spans)
    found = {
        "runs": sum(map(len, begun.values())),
        "workers": len(begun),
        "seconds_a_run": inside / runs,
        "seconds_between": (between - inside) / (runs - len(begun)),
        "busy": inside / between,
        "busy_with_start": inside / (len(begun) * (max(end for _, end in spans) - started)),
    }
    assert found["runs"] == runs, f"{found['runs']} of {runs} runs were trained once"
    print(f"pool, {path.stem}: {found['busy']:.1%} of {len(begun)} workers' time in runs, target {BUSY:.0%}; {found}")
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="a multiple of 200")
    parser.add_argument("--trained", type=int, default=1_000, help="runs of twenty steps that the pool trains")
    parser.add_argument("--counted", type=int, default=1_000, help="n-gram models that the pool counts")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--root", type=Path, help="folder that is kept: the next call finds the records written")
    parser.add_argument("--out", type=Path, help="file for the result, JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
