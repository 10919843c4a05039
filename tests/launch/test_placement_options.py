"""A placement from options: every field reachable, the study's where nothing is given."""

from dataclasses import fields

import pytest
import tyro

from launch import studies
from launch.launch_command import LaunchOptions
from launch.placement_options import MeshOptions, PlacementOptions, as_options
from launch.plan_command import PlanOptions
from launch.train_command import TrainOptions
from scaling.config import Placement

OF_STUDY = Placement(fsdp=2, microbatches=4, tracking="off")


def parsed(arguments: list[str], options: type = LaunchOptions) -> PlacementOptions:
    return studies.parse("demo", options, arguments, "scaling launch")[0].placement


def test_every_field_of_a_placement_is_an_option():
    assert {field.name for field in fields(PlacementOptions)} == {field.name for field in fields(Placement)}


def test_what_is_not_given_stays_the_studys():
    assert parsed([]).over(OF_STUDY) == OF_STUDY
    found = parsed(["--placement.tensor", "4", "--microbatches", "8"]).over(OF_STUDY)
    assert found == Placement(fsdp=2, tensor=4, microbatches=8, tracking="off")
    assert parsed(["--placement.fsdp", "1"]).over(OF_STUDY).fsdp == 1


def test_a_run_from_options_takes_the_same_names():
    arguments = ["--placement.fsdp", "2", "--checkpoint-seconds", "5", "--tracking", "off", "--data.vocab", "300"]
    options = tyro.cli(TrainOptions, args=arguments)
    assert options.placement.over(Placement()) == Placement(fsdp=2, checkpoint_seconds=5.0, tracking="off")
    assert options.data.vocab == 300


def test_a_plan_knows_the_mesh_and_not_the_logbook():
    assert parsed(["--placement.pipe", "2"], PlanOptions).over(Placement()).pipe == 2
    assert type(PlanOptions().placement) is MeshOptions


@pytest.mark.parametrize("placement", [Placement(), Placement(fsdp=8, pipe=2, remat="block", microbatches=4), OF_STUDY])
def test_a_placement_written_as_options_is_read_back(placement):
    assert parsed(as_options(placement).split()).over(Placement()) == placement
