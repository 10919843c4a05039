"""Ray: every run is a task that starts `scaling run` in a process of its own, on a cluster or on this machine.

Ray schedules and no more: the plan and the folders of the runs are the only
state. When this process ends, however it ends, Ray ends what it has started;
submitting again goes on from the checkpoints. A run over several nodes is a
gang: its tasks start together or not at all, each on a node of its own.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.jobs import note
from launch.pool import defaults
from launch.ray_options import RayOptions
from launch.worker import RESUME_ME
from scaling.attempts import GIVE_UP, attempts
from scaling.plan_file import PlanFile
from scaling.record import RunDirectory
from scaling.workspace import Workspace

RUN = ("-m", "launch.cli", "run")  # after the interpreter of the node
HELD = 76  # another process is training the run
HELD_SECONDS = 10.0  # until such a run is tried again
MARGIN_SECONDS = 10.0  # beyond its own grace, for a run to end
OBJECT_STORE_BYTES = 80_000_000  # about the least that Ray takes: nothing but exit codes go through it


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a node is told to do."""

    arguments: list[str]  # of the interpreter
    log: Path
    grace_seconds: float
    defaults: dict[str, str]  # of the environment, unless the node's says otherwise
    environment: dict[str, str]  # whatever the node's says


@dataclass
class Attempt:
    """A run under way: a task for each of its nodes."""

    tasks: list[Any]
    group: Any = None  # the placement group of a gang


@dataclass
class Sweep:
    """What was submitted, and what became of it."""

    plan: PlanFile
    workspace: Workspace
    options: RayOptions
    left: list[str]  # run ids without an outcome, in the order to start them
    under_way: dict[str, Attempt] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)  # run id -> trained, cancelled, or why it failed
    lost: dict[str, tuple[int, int]] = field(default_factory=dict)  # attempts noted, and how often lost since
    held_until: dict[str, float] = field(default_factory=dict)


def train(
    plan: PlanFile, run_ids: Sequence[str], workspace: Workspace, options: RayOptions, say: Callable[[str], None]
) -> dict[str, str]:
    """Train what is left of a plan; returns each run's outcome. Interrupted, it lets the runs write checkpoints."""
    if not run_ids:
        return {}
    sweep = submit(plan, run_ids, workspace, options)
    try:
        while sweep.left:
            for name, outcome in poll(sweep):
                say(f"{name} {outcome}; {len(sweep.left)} left")
        return sweep.outcomes
    finally:
        cancel(sweep)
        _ray().shutdown()


def submit(plan: PlanFile, run_ids: Sequence[str], workspace: Workspace, options: RayOptions) -> Sweep:
    """Connect, and start those runs whose trunk is not among those left. Raises ValueError for too small a machine."""
    _connect(options)
    for name in run_ids:
        RunDirectory(workspace.runs / name).cancel.unlink(missing_ok=True)
    root = Workspace(root=workspace.root.absolute())
    sweep = Sweep(plan=plan, workspace=root, options=options, left=list(run_ids))
    _start_what_can(sweep)
    return sweep


def poll(sweep: Sweep, seconds: float = 1.0) -> list[tuple[str, str]]:
    """Wait at most so long for an end, and start what can start then; run ids and outcomes that are new."""
    tasks = {task: name for name, attempt in sweep.under_way.items() for task in attempt.tasks}
    if tasks:
        _ray().wait(list(tasks), timeout=seconds)
    else:
        time.sleep(seconds)  # all that is left is held by others
    ended, _ = _ray().wait(list(tasks), num_returns=len(tasks), timeout=0) if tasks else ([], [])
    known = set(sweep.outcomes)
    for name in [name for name, attempt in sweep.under_way.items() if set(attempt.tasks) <= set(ended)]:
        _ended(sweep, name)
    _start_what_can(sweep)
    return [(name, outcome) for name, outcome in sweep.outcomes.items() if name not in known]


def cancel(sweep: Sweep) -> None:
    """Start nothing more; let the runs under way write a checkpoint, and wait for them."""
    tasks = [task for attempt in sweep.under_way.values() for task in attempt.tasks]
    for task in tasks:
        _ray().cancel(task)
    if tasks:
        _ray().wait(tasks, num_returns=len(tasks), timeout=sweep.plan.placement.grace_seconds + 2 * MARGIN_SECONDS)
    sweep.under_way.clear()


def _start_what_can(sweep: Sweep) -> None:
    """However a trunk ends: a branch without its checkpoint trains from its first step, only slower."""
    now, left = time.monotonic(), set(sweep.left)
    for name in tuple(sweep.left):
        if sweep.options.at_once is not None and len(sweep.under_way) >= sweep.options.at_once:
            return
        trunk = sweep.plan.runs[name]["config"].get("trunk") or {}
        waits = trunk.get("run_id") in left or sweep.held_until.get(name, 0.0) > now
        if name in sweep.under_way or waits:
            continue
        if RunDirectory(sweep.workspace.runs / name).cancel.exists():
            _settle(sweep, name, "cancelled")
            continue
        attempt = sweep.under_way[name] = _start(sweep, name)
        note(sweep.workspace, sweep.plan.name, "ray", {name: attempt.tasks[0].task_id().hex()})


def _start(sweep: Sweep, name: str) -> Attempt:
    options = sweep.options
    order = Order(
        arguments=[*RUN, str(sweep.plan.path.absolute()), name, "--root", str(sweep.workspace.root)],
        log=_log(sweep, name),
        grace_seconds=sweep.plan.placement.grace_seconds,
        defaults=defaults(sweep.workspace),
        environment={} if options.gpus else {"JAX_PLATFORMS": "cpu"},  # a broken plugin must not keep it from starting
    )
    task = _ray().remote(num_cpus=options.cpus, num_gpus=options.gpus, max_retries=0)(run_on_node)
    return Attempt([task.remote(order)]) if options.nodes == 1 else _start_gang(task, order, options)


def _start_gang(task: Any, order: Order, options: RayOptions) -> Attempt:
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    bundle = {"CPU": options.cpus} | ({"GPU": options.gpus} if options.gpus else {})
    group = placement_group([dict(bundle) for _ in range(options.nodes)], strategy="STRICT_SPREAD")
    places = [PlacementGroupSchedulingStrategy(group, index) for index in range(options.nodes)]
    first = _ray().remote(num_cpus=0, max_retries=0)(free_address).options(scheduling_strategy=places[0]).remote()
    tasks = [
        task.options(scheduling_strategy=place).remote(order, process, options.nodes, first)
        for process, place in enumerate(places)
    ]
    return Attempt(tasks, group)


def free_address() -> str:
    """On the first node of a gang: where its processes meet. Another port each time, so that none is still taken."""
    address = _ray().util.get_node_ip_address()
    with socket.socket() as found:
        found.bind(("", 0))
        return f"{address}:{found.getsockname()[1]}"


def run_on_node(order: Order, process_id: int = 0, processes: int = 1, coordinator: str = "") -> int:
    """On a node: the exit code of one process. Cancelled, it asks that to write a checkpoint."""
    together = {"SCALING_PROCESSES": str(processes)}
    if processes > 1:
        together |= {"SCALING_PROCESS_ID": str(process_id), "SCALING_COORDINATOR": coordinator}
    order.log.parent.mkdir(parents=True, exist_ok=True)
    with order.log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, *order.arguments],
            env={**order.defaults, **os.environ, **order.environment, **together},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        while True:  # Ray's interruption is heard between two waits
            with suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=0.5)
    except KeyboardInterrupt:
        process.terminate()
        try:
            return process.wait(order.grace_seconds + MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _ended(sweep: Sweep, name: str) -> None:
    """Settle a run all of whose tasks have ended, or leave it for another attempt."""
    attempt = sweep.under_way.pop(name)
    codes = [_code(task) for task in attempt.tasks]
    if attempt.group is not None:
        _ray().util.remove_placement_group(attempt.group)
    bad = [code for code in codes if code != 0]
    killed = next((code for code in bad if not isinstance(code, int) or code < 0), None)
    if not bad:
        outcome = "trained"
    elif RunDirectory(sweep.workspace.runs / name).cancel.exists():
        outcome = "cancelled"
    elif killed is not None:  # of a gang, the errors of the others may only echo this
        # What begins and dies is given up by `scaling run` itself; here is counted what is lost before it begins.
        begun = len(attempts(RunDirectory(sweep.workspace.runs / name)))
        before, lost = sweep.lost.get(name, (begun, 0))
        sweep.lost[name] = begun, (lost if begun == before else 0) + 1
        if sweep.lost[name][1] < GIVE_UP:
            return
        outcome = f"failed: lost {GIVE_UP} times before it began, the last time by {killed}"
    elif HELD in bad:
        sweep.held_until[name] = time.monotonic() + HELD_SECONDS
        return
    elif RESUME_ME in bad:
        return
    else:
        outcome = f"failed: exit code {bad[0]}; see {_log(sweep, name)}"
    _settle(sweep, name, outcome)


def _settle(sweep: Sweep, name: str, outcome: str) -> None:
    sweep.left.remove(name)
    sweep.outcomes[name] = outcome


def _log(sweep: Sweep, name: str) -> Path:
    """What the processes of a run print."""
    return sweep.workspace.studies / sweep.plan.name / "ray" / f"{name}.txt"


def _code(task: Any) -> int | str:
    """A process's exit code, negative for a signal; or what Ray says of a task that has none."""
    from ray.exceptions import RayError

    try:
        return _ray().get(task)
    except RayError as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _connect(options: RayOptions) -> None:
    """To a cluster, or start Ray here. Ray listens on all addresses of a machine: a token keeps others out."""
    handler = signal.getsignal(signal.SIGTERM)
    if options.address is None:  # Ray reads these when it is imported
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one to the home folder
        _ray().init("local", include_dashboard=False, log_to_driver=False, object_store_memory=OBJECT_STORE_BYTES)
    else:
        _ray().init(options.address, log_to_driver=False)
    signal.signal(signal.SIGTERM, handler)  # Ray has taken it
    if options.address is None:
        _check_room(options)


def _check_room(options: RayOptions) -> None:
    """A machine does not grow, as a cluster may; a task that never fits would wait for ever."""
    there = _ray().cluster_resources()
    for name, asked in (("CPU", options.cpus), ("GPU", options.gpus)):
        if asked > there.get(name, 0):
            _ray().shutdown()
            raise ValueError(
                f"--ray.{name.lower()}s {asked}: this machine has {there.get(name, 0):g} {name}s; ask for at most that"
            )


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError("--on ray needs Ray: pip install 'scaling-lab[ray]'") from None
    return ray
