"""The one description of metrics: what is measured, in which unit, and which direction is better."""

import pytest

from genclspp.inference import metrics
from genclspp.inference.metrics import Prediction
from genclspp.report import figures, measures

PREDICTIONS = [Prediction("1", "a", "a", "a", "a", {"a": 0.9, "b": 0.1}, text="")] * 3
COUNTS = ("examples",)


def test_every_metric_of_a_cell_is_described():
    for name in metrics.compute(PREDICTIONS, ("a", "b")).keys() - COUNTS:
        for each in (name, f"validation/{name}"):
            assert measures.find(each), each


def test_names_are_told_apart():
    assert len(measures.BY_NAME) == len(measures.MEASURES)
    assert len({measure.heading for measure in measures.MEASURES}) == len(measures.MEASURES)


@pytest.mark.parametrize(
    ("name", "goal", "unit"),
    [
        ("accuracy", "maximize", "share"),
        ("validation/macro_f1_low", "maximize", "share"),
        ("f1/refund status", "maximize", "share"),
        ("ece", "minimize", ""),
        ("validation/nll", "minimize", "nats"),
        ("seconds", "minimize", "seconds"),
        ("memory/sft", "minimize", "bytes"),
        ("held_out/reward", "maximize", ""),
        ("error_rate", None, "share"),
        ("majority", None, "share"),
    ],
)
def test_a_measure_has_a_goal_and_a_unit(name: str, goal: str | None, unit: str):
    found = measures.find(name)
    assert found is not None
    assert (found.name, found.goal, found.unit) == (name, goal, unit)
    assert figures.is_share(name) == (unit == "share")
    assert figures.is_loss(name) == (goal == "minimize")


@pytest.mark.parametrize("name", ["seed", "examples", "artifact/sft", "version/torch", "dataset.path", "ece_x"])
def test_what_is_no_measure_has_no_description(name: str):
    assert measures.find(name) is None
    assert not figures.is_share(name)
    assert not figures.is_loss(name)
