"""Which training examples serve as demonstrations: the same for every query, or the nearest to each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice, zip_longest
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from genclspp.store.artifacts import stage
from genclspp.store.files import write_json
from genclspp.suggest import UserError
from genclspp.task import Example, normalise

if TYPE_CHECKING:
    import numpy

NEIGHBOURS = "neighbours.json"
SIMILARITIES = 8_000_000  # computed at once: 64 MB as float64


@stage("neighbours", version=1)
def find(
    train: Sequence[Example], queries: Sequence[Example], shots: int, embedder: str, language: str, out: Path
) -> None:
    """Leave the ids of the `shots` nearest training examples of each query, nearest first."""
    found = find_nearest(train, queries, shots, embedder, language)
    write_json(out / NEIGHBOURS, {query: [example.id for example in near] for query, near in found.items()})


def read(folder: Path, train: Sequence[Example]) -> Mapping[str, tuple[Example, ...]]:
    """Query id -> demonstrations, as `find` left them."""
    by_id = {example.id: example for example in train}
    rows = json.loads((folder / NEIGHBOURS).read_text(encoding="utf-8"))
    return {query: tuple(by_id[id] for id in ids) for query, ids in rows.items()}


def choose_fixed(
    train: Sequence[Example], queries: Sequence[Example], labels: Sequence[str], shots: int, seed: int
) -> dict[str, tuple[Example, ...]]:
    """Query id -> `shots` demonstrations, the same for all: one of each label, then a second of each, ….

    A query that is one of them gets those that would be drawn if it did not exist, so that its demonstrations
    reveal nothing about its own label.
    """
    pool = _distinct(train)
    _require(shots, len(pool), "shots")
    # Sorting by a hash keeps the order of all others when an example is left out; a seeded shuffle would not.
    pool.sort(key=lambda example: sha256(f"{seed} {example.id}".encode()).digest())
    order = list(labels)
    Random(seed).shuffle(order)
    shared = _in_rounds(pool, order, shots)
    ids, texts = {shot.id for shot in shared}, {normalise(shot.text) for shot in shared}
    found = {}
    for query in queries:
        text = normalise(query.text)
        if query.id in ids or text in texts:  # draw again without the query
            others = [example for example in pool if example.id != query.id and normalise(example.text) != text]
            found[query.id] = _in_rounds(others, order, shots)
        else:
            found[query.id] = shared
    return found


def _in_rounds(pool: Sequence[Example], labels: Sequence[str], count: int) -> tuple[Example, ...]:
    """The first `count` examples in rounds: one of each label, then a second of each, …."""
    by_label: dict[str, list[Example]] = {label: [] for label in labels}
    for example in pool:
        by_label[example.label].append(example)
    rounds = zip_longest(*by_label.values())
    return tuple(islice((example for row in rounds for example in row if example is not None), count))


def find_nearest(
    train: Sequence[Example], queries: Sequence[Example], k: int, embedder: str, language: str
) -> dict[str, tuple[Example, ...]]:
    """Query id -> its `k` nearest training examples by cosine similarity, nearest first.

    Never the query itself, by id or by normalised text, and never two with the same normalised text. Ties are
    broken by the order in train. Raises UserError if train has too few different texts.

    embedder: "tfidf", or a sentence-transformers model: a local folder or a hub id
    """
    pool = _distinct(train)
    _require(k, len(pool), "neighbours")
    if not queries:
        return {}
    texts = [example.text for example in pool], [query.text for query in queries]
    embedded = _tfidf(*texts, language) if embedder == "tfidf" else _embedded(*texts, embedder)
    excluded = _positions(pool, queries)
    found = {}
    for start, similarities in _chunks(*embedded):
        chunk = range(start, start + len(similarities))
        for row, position in enumerate(chunk):
            similarities[row, excluded[position]] = -2.0  # lower than any cosine
        for position, nearest in zip(chunk, _nearest(similarities, k), strict=True):
            found[queries[position].id] = tuple(pool[index] for index in nearest)
    return found


def _distinct(train: Sequence[Example]) -> list[Example]:
    """The first example of each normalised text."""
    first: dict[str, Example] = {}
    for example in train:
        first.setdefault(normalise(example.text), example)
    return list(first.values())


def _require(wanted: int, available: int, what: str) -> None:
    # One more than wanted, as the query itself may be among them.
    if wanted < 1 or wanted >= available:
        raise UserError(
            f"{wanted} {what} requested from {available} training examples with different texts; expected 1 to "
            f"{max(available - 1, 0)}"
        )


def _positions(pool: Sequence[Example], queries: Sequence[Example]) -> list[list[int]]:
    """For each query, the positions in the pool that hold the query itself, by id or by text."""
    by_id = {example.id: position for position, example in enumerate(pool)}
    by_text = {normalise(example.text): position for position, example in enumerate(pool)}
    found = [{by_id.get(query.id), by_text.get(normalise(query.text))} for query in queries]
    return [sorted(position for position in positions if position is not None) for positions in found]


def _chunks(pool: Any, queries: Any) -> Iterator[tuple[int, "numpy.ndarray"]]:
    """Cosine similarities of the queries to the pool, chunk by chunk.

    pool, queries: (examples, features) unit vectors, both sparse or both dense
    yields:        position of the chunk's first query, and similarities (queries in the chunk, pool)
    """
    import numpy
    import scipy.sparse

    # The full matrix of, say, 10,000 queries to 50,000 examples would take 4 GB.
    size = max(1, SIMILARITIES // pool.shape[0])
    for start in range(0, queries.shape[0], size):
        # Unit vectors: the dot product is the cosine.
        product = queries[start : start + size] @ pool.T
        dense = product.toarray() if scipy.sparse.issparse(product) else product
        yield start, numpy.asarray(dense, dtype=numpy.float64)


def _nearest(similarities: "numpy.ndarray", k: int) -> "numpy.ndarray":
    """Positions of the `k` largest similarities of each query, (queries, k); ties by position.

    similarities: (queries, pool). They are compared to six decimals, as further ones depend on the machine and
                  on the chunk.
    """
    import numpy

    count = similarities.shape[1]
    # One integer per similarity: the rounded value decides, then the lower position; so no two are equal.
    keys = numpy.rint(similarities * 1e6).astype(numpy.int64) * count - numpy.arange(count)
    top = numpy.argpartition(-keys, k - 1, axis=1)[:, :k]  # the k largest in any order: cheaper than a full sort
    order = numpy.argsort(-numpy.take_along_axis(keys, top, axis=1), axis=1)
    return numpy.take_along_axis(top, order, axis=1)


def _tfidf(pool: list[str], queries: list[str], language: str) -> tuple[Any, Any]:
    """TF-IDF unit vectors over word 1-2-grams (character 1-3-grams for Chinese), fitted on the pool."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if language == "zh":
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    else:
        # The default pattern drops one-letter words, which would leave nothing of a text such as "Y ?".
        vectorizer = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True)
    try:
        return vectorizer.fit_transform(pool), vectorizer.transform(queries)
    except ValueError:  # no text in the pool has a word
        vectorizer = TfidfVectorizer(analyzer="char", lowercase=False)
        return vectorizer.fit_transform(pool), vectorizer.transform(queries)


def _embedded(pool: list[str], queries: list[str], model: str) -> tuple[Any, Any]:
    from genclspp.selection.embed import Embedder

    embedder = Embedder.load(model)
    return embedder(pool), embedder(queries)
