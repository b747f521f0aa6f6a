import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.data import tickets
from genclspp.selection import demonstrations
from genclspp.task import Example, normalise

LABELS = tickets.LABELS


@pytest.fixture(scope="module")
def splits():
    return tickets.generate({"train": 150, "test": 40}, seed=0)


def unlike(shown: tuple[Example, ...], query: Example) -> list[Example]:
    return [e for e in shown if e.id != query.id and normalise(e.text) != normalise(query.text)]


def shared(train, shots: int, seed: int) -> tuple[Example, ...]:
    """What a query unlike all others is shown."""
    return demonstrations.choose_fixed(train, [Example("q", "unlike all others", "?")], LABELS, shots, seed)["q"]


def test_fixed_takes_one_of_each_class_first(splits):
    shown = shared(splits["train"], 16, seed=0)
    assert len(shown) == 16
    assert {e.label for e in shown[:8]} == {e.label for e in shown[8:]} == set(LABELS)


def test_fixed_depends_on_the_seed_alone(splits):
    train = splits["train"]
    assert shared(train, 5, 0) == shared(list(train), 5, 0)
    assert shared(train, 5, 0) != shared(train, 5, 1)
    assert shared(train, 5, 0)[:3] == shared(train, 3, 0)


def test_a_demonstration_makes_room_for_the_next_of_its_label(splits):
    train = splits["train"]
    shown = shared(train, 8, 0)
    for place, query in enumerate(shown):
        own = demonstrations.choose_fixed(train, [query], LABELS, 8, 0)[query.id]
        assert own[:place] + own[place + 1 :] == shown[:place] + shown[place + 1 :]
        assert own[place].label == query.label
        assert own[place] != query


texts = st.lists(st.sampled_from(["a", "A!", "b", "b.", "c", "d", "e"]), min_size=6, max_size=20)


@given(texts, st.integers(1, 3), st.integers(0, 5))
def test_enough_demonstrations_remain_without_the_query(texts, shots, seed):
    train = [Example(f"train-{n}", text, "xyz"[n % 3]) for n, text in enumerate(texts)]
    distinct = len({normalise(text) for text in texts})
    if shots >= distinct:
        with pytest.raises(ValueError, match=f"{shots} shots requested from {distinct} training examples"):
            demonstrations.choose_fixed(train, train, "xyz", shots, seed)
        return
    same = demonstrations.choose_fixed(train, train, "xyz", shots, seed)
    near = demonstrations.find_nearest(train, train, shots, "tfidf", "en")
    for query in train:
        for shown in (same[query.id], near[query.id]):
            assert len(unlike(shown, query)) == len(shown) == shots


@pytest.mark.parametrize("shots", [0, -1, 150, 1000])
def test_impossible_numbers_are_refused(splits, shots):
    with pytest.raises(ValueError, match=f"{shots} shots requested from 150 training examples"):
        demonstrations.choose_fixed(splits["train"], splits["test"], LABELS, shots, 0)
    with pytest.raises(ValueError, match="expected 1 to 149"):
        demonstrations.find_nearest(splits["train"], splits["test"], shots, "tfidf", "en")


def test_neighbours_are_those_of_a_plain_search(splits):
    train, queries = splits["train"], splits["test"]
    pool, asked = demonstrations._tfidf([e.text for e in train], [e.text for e in queries], "en")
    similarities = (asked @ pool.T).toarray()
    found = demonstrations.find_nearest(train, queries, 7, "tfidf", "en")
    for query, row in zip(queries, similarities, strict=True):
        order = sorted(range(len(train)), key=lambda n: (-round(row[n], 6), n))
        assert found[query.id] == tuple(train[n] for n in order[:7])


def test_neighbours_do_not_depend_on_the_chunks(splits, monkeypatch):
    whole = demonstrations.find_nearest(splits["train"], splits["test"], 5, "tfidf", "en")
    monkeypatch.setattr(demonstrations, "SIMILARITIES", 450)
    assert demonstrations.find_nearest(splits["train"], splits["test"], 5, "tfidf", "en") == whole


def test_neighbours_of_train_never_contain_the_query(splits):
    train = [*splits["train"], Example("twin", splits["train"][0].text.upper() + "!", "refund")]
    for id, found in demonstrations.find_nearest(train, train, 5, "tfidf", "en").items():
        query = next(e for e in train if e.id == id)
        assert unlike(found, query) == list(found)


def test_ties_go_by_the_order_in_train():
    train = [Example(f"train-{n}", f"same{'!' * n} word{n}", "a") for n in range(9)]
    found = demonstrations.find_nearest(train, [Example("q", "same", "a")], 4, "tfidf", "en")["q"]
    assert [e.id for e in found] == ["train-0", "train-1", "train-2", "train-3"]


def test_chinese_neighbours_share_characters():
    texts = ["股市今日大涨", "球队赢得比赛", "新手机今日发布", "股市下跌"]
    train = [Example(f"train-{n}", text, "a") for n, text in enumerate(texts)]
    found = demonstrations.find_nearest(train, [Example("q", "今日股市", "a")], 2, "tfidf", "zh")["q"]
    assert [e.id for e in found] == ["train-0", "train-3"]


def test_texts_without_words_are_no_trouble():
    train = [Example(f"train-{n}", text, "a") for n, text in enumerate(["?!", ":-)", ":-(", "..."])]
    found = demonstrations.find_nearest(train, [Example("q", ":-)", "a")], 1, "tfidf", "en")["q"]
    assert found[0].id == "train-2"


def test_no_queries_no_work(splits):
    assert demonstrations.find_nearest(splits["train"], [], 3, "tfidf", "en") == {}
