"""What is measured: the one description of metrics that tables, the page and Weights & Biases share.

A measure is an entry of records or of training curves. Its goal says which direction is better.
"""

from dataclasses import dataclass, replace
from typing import Literal

Goal = Literal["maximize", "minimize"]
Unit = Literal["share", "nats", "seconds", "tokens", "bytes", ""]
Topic = Literal["result", "reference", "calibration", "training", "rl", "cost"]


@dataclass(frozen=True)
class Measure:
    """A number in records or in training curves.

    name:    its key there
    heading: what people read
    topic:   the section in which it is shown
    goal:    which direction is better; None if neither is, as for the length of completions
    unit:    "share" is between 0 and 1, shown in %
    """

    name: str
    heading: str
    topic: Topic
    goal: Goal | None = None
    unit: Unit = ""

    @property
    def arrow(self) -> str:
        """The direction that is better, as a sign behind the heading."""
        return {"maximize": " ↑", "minimize": " ↓", None: ""}[self.goal]


MEASURES = (
    Measure("accuracy", "accuracy", "result", "maximize", "share"),
    Measure("macro_f1", "macro-F1", "result", "maximize", "share"),
    Measure("accuracy_forced", "accuracy, forced", "result", "maximize", "share"),
    Measure("invalid_rate", "invalid", "result", "minimize", "share"),
    Measure("coverage", "coverage", "result", "maximize", "share"),
    Measure("selective_accuracy", "selective accuracy", "result", "maximize", "share"),
    Measure("unclosed_share", "unclosed thoughts", "result", "minimize", "share"),
    Measure("truncated_share", "truncated", "result", "minimize", "share"),
    Measure("matthews", "Matthews", "result", "maximize"),
    Measure("mean_rank_distance", "rank distance", "result", "minimize"),
    Measure("majority", "majority", "reference", None, "share"),  # always the most frequent label
    Measure("demonstration_vote", "vote of the demonstrations", "reference", None, "share"),
    Measure("ece", "ECE", "calibration", "minimize"),
    Measure("nll", "NLL", "calibration", "minimize", "nats"),
    Measure("brier", "Brier", "calibration", "minimize"),
    Measure("loss", "loss", "training", "minimize", "nats"),
    Measure("mean_token_accuracy", "token accuracy", "training", "maximize", "share"),
    Measure("grad_norm", "gradient norm", "training"),
    Measure("learning_rate", "learning rate", "training"),
    Measure("reward", "reward", "rl", "maximize"),
    Measure("held_out/accuracy", "held-out accuracy", "rl", "maximize", "share"),
    Measure("held_out/reward", "held-out reward", "rl", "maximize"),
    Measure("held_out/invalid", "held-out invalid", "rl", "minimize", "share"),
    Measure("held_out/kl", "KL from the start", "rl", "minimize", "nats"),
    Measure("held_out/entropy", "entropy", "rl", None, "nats"),
    Measure("held_out/equal_groups", "equal groups", "rl", "minimize", "share"),
    Measure("frac_reward_zero_std", "groups of equal reward", "rl", "minimize", "share"),
    Measure("completions/mean_length", "completion length", "rl", None, "tokens"),
    Measure("seconds", "time", "cost", "minimize", "seconds"),
)
# What each stage costs, under `<prefix>/<role>` in records.
STAGE_COSTS = (
    Measure("seconds", "time", "cost", "minimize", "seconds"),
    Measure("tokens", "tokens", "cost", "minimize", "tokens"),
    Measure("memory", "peak memory", "cost", "minimize", "bytes"),
)
BY_NAME = {measure.name: measure for measure in MEASURES}
ON_VALIDATION = "validation/"
ENDS = ("_low", "_high", "_sd")  # of an interval, and the deviation over seeds


def find(name: str) -> Measure | None:
    """The measure under a name of a record or a curve; None for what is no measure.

    A metric of a user's own that is called a rate or a share is one.

    >>> find("validation/accuracy").heading, find("tokens/sft").heading, find("error_rate").unit
    ('accuracy on validation', 'tokens of sft', 'share')
    """
    if name.startswith(ON_VALIDATION):
        known = find(name.removeprefix(ON_VALIDATION))
        return known and replace(known, name=name, heading=f"{known.heading} on validation")
    prefix, _, of = name.partition("/")
    for cost in STAGE_COSTS:
        if prefix == cost.name:
            return replace(cost, name=name, heading=f"{cost.heading} of {of}" if of else cost.heading)
    if prefix == "f1":
        return Measure(name, f"F1 of {of}", "result", "maximize", "share")
    for end in ENDS:
        if name.endswith(end) and (known := BY_NAME.get(name.removesuffix(end))):
            return replace(known, name=name)
    if name.endswith(("_rate", "_share")) and name not in BY_NAME and name.isidentifier():
        return Measure(name, name.replace("_", " "), "result", None, "share")
    return BY_NAME.get(name)


def of_topic(topic: Topic) -> list[Measure]:
    return [measure for measure in MEASURES if measure.topic == topic]
