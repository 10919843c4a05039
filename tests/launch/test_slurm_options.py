import pytest
from hypothesis import given, strategies

from launch.slurm_options import NOTICE_SECONDS, SlurmOptions, seconds_of


def test_every_option_becomes_a_line_and_what_is_not_given_none():
    assert SlurmOptions().lines() == ["--nodes=1", "--ntasks-per-node=1"]
    options = SlurmOptions(
        partition="gpu,big", account="me", qos="high", time="2-12", nodes=4, gpus=8, cpus=16, memory="64G", at_once=3
    )
    assert options.lines() == [
        "--partition=gpu,big",
        "--account=me",
        "--qos=high",
        "--time=2-12",
        "--nodes=4",
        "--ntasks-per-node=1",
        "--cpus-per-task=16",
        "--gpus-per-node=8",
        "--mem=64G",
    ]


def test_more_options_are_handed_on_and_quoted():
    options = SlurmOptions(extra=("exclusive", "constraint=a100|h100", "comment=it's mine # really"))
    assert options.lines()[2:] == [
        "--exclusive",
        "--constraint='a100|h100'",
        "--comment='it'\"'\"'s mine # really'",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"partition": "a b"}, r"--slurm.partition 'a b': give a name"),
        ({"account": "x\n#SBATCH --array=1-9"}, r"--slurm.account 'x\\n#SBATCH.*': give a name"),
        ({"qos": ""}, r"--slurm.qos '': give a name"),
        ({"nodes": 0}, r"--slurm.nodes 0: must be positive"),
        ({"at_once": 0}, r"--slurm.at-once 0: must be positive"),
        ({"gpus": -1}, r"--slurm.gpus -1: must not be negative"),
        ({"memory": "64GB"}, r"--slurm.memory '64GB': give a number of megabytes, or one with K, M, G or T"),
        ({"time": "1 day"}, r"--slurm.time '1 day': give minutes, HH:MM:SS or D-HH:MM:SS"),
        ({"extra": ("exclusive\nrm -rf /",)}, r"--slurm.extra 'exclusive\\nrm -rf /': give one option of sbatch"),
        ({"extra": ("comment=a\nb",)}, r"--slurm.extra 'comment=a\\nb': give one option of sbatch"),
        ({"extra": ("comment=a\\b",)}, r"give one option of sbatch"),
        ({"extra": ("--exclusive",)}, r"give one option of sbatch without its dashes"),
        ({"extra": ("array=1-9",)}, r"--slurm.extra 'array=1-9': array is set for every array; leave it out"),
    ],
)
def test_what_sbatch_would_take_for_something_else_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        SlurmOptions(**given)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("90:30", 5430), ("24:00:00", 86400), ("2-12", 216000), ("1-0:30", 88200), ("1-01:01:01", 90061)],
)
def test_a_time_limit_is_read_as_sbatch_reads_it(time, seconds):
    assert seconds_of(time) == seconds


@given(strategies.integers(0, 99), strategies.integers(0, 23), strategies.integers(0, 59), strategies.integers(0, 59))
def test_days_hours_minutes_and_seconds_add_up(days, hours, minutes, seconds):
    assert seconds_of(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == (
        ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    )


def test_a_run_is_told_to_stop_its_grace_and_some_time_before_the_limit():
    assert SlurmOptions(time="60").check_notice(grace_seconds=100.5) == 100 + NOTICE_SECONDS
    assert SlurmOptions().check_notice(grace_seconds=1e6) > 1e6  # the cluster's own limit is not known
    with pytest.raises(ValueError, match=r"--slurm.time 4: a run is told to stop 130 s before its limit .*more time"):
        SlurmOptions(time="4").check_notice(grace_seconds=100)


def test_a_run_takes_all_devices_of_its_nodes():
    assert SlurmOptions(nodes=2, gpus=4).devices_of_a_run(otherwise=3) == 8
    assert SlurmOptions(nodes=2).devices_of_a_run(otherwise=3) == 2
    assert SlurmOptions().devices_of_a_run(otherwise=3) == 3
