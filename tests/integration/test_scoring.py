"""Scores, greedy completions and constrained choices against the plain model."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

from genclspp.trees import forward, scoring
from genclspp.trees.scoring import generate, label_logprobs, score
from genclspp.trees.tree import common_prefix_length

TEXT = "the cat sat on the mat; no match, not a match: yes yes no 12 345 café naïve 分类 unbelievable tables able"
SPECIAL = ["<unk>", "<bos>", "<eos>", "<pad>", "##"]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)


def whole_text_bpe():
    """Merges across spaces, like SentencePiece BPE without a pre-tokenizer."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer, trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL)


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer, trainers.UnigramTrainer(vocab_size=80, special_tokens=SPECIAL, unk_token="<unk>")


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, trainers.WordPieceTrainer(vocab_size=120, special_tokens=SPECIAL)


def characters():
    """One token per character: every text reads back as it was written."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer, trainers.BpeTrainer(vocab_size=1, special_tokens=SPECIAL)


def train(kind):
    tokenizer, trainer = kind()
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )


KINDS = [byte_level, whole_text_bpe, unigram, word_piece, characters]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def tokenizer(request):
    return train(request.param)


def tiny(vocabulary=400, **changes):
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,  # far from uniform predictions
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        **changes,
    )
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def model():
    return tiny()


PROMPTS = ["<bos>the cat sat: ", "<bos>the cat sat on the mat; no match:", "<bos>the mat", "<bos>yes 12"]
LABELS = ["no", "no match", "yes", " able", "345", "s", "分类"]


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@torch.no_grad()
def separately(model, tokenizer, prompt, labels, add_eos=True):
    """Each joined text by itself, scored from the last token common to all of them and the prompt."""
    end = [tokenizer.eos_token_id] if add_eos else []
    joined = [encode(tokenizer, prompt + label) for label in labels]
    cut = min(common_prefix_length(encode(tokenizer, prompt), ids) for ids in joined)
    scores = []
    for ids in joined:
        logprobs = model(torch.tensor([ids + end])).logits[0].double().log_softmax(-1)
        scores.append(sum(logprobs[k - 1, token].item() for k, token in enumerate(ids + end) if k >= cut))
    return scores


@pytest.mark.parametrize("add_eos", [True, False])
def test_scores_are_those_of_separate_sequences(model, tokenizer, add_eos):
    found = label_logprobs(model, tokenizer, PROMPTS, LABELS, add_eos=add_eos)
    expected = torch.tensor([separately(model, tokenizer, prompt, LABELS, add_eos) for prompt in PROMPTS])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_prompt_and_label_together_are_the_whole_text(model, tokenizer):
    """Whatever the labels change at the end of a prompt, each token but the first counts once."""
    found = score(model, tokenizer, PROMPTS, LABELS)
    prompts = scoring.prompt_logprobs(model, tokenizer, PROMPTS, LABELS)
    for k, (prompt, (before, count)) in enumerate(zip(PROMPTS, prompts, strict=True)):
        for j, label in enumerate(LABELS):
            ids = torch.tensor([[*encode(tokenizer, prompt + label), tokenizer.eos_token_id]])
            logprobs = model(ids).logits[0].double().log_softmax(-1)
            whole = logprobs[:-1].gather(1, ids[0, 1:, None]).sum().item()
            assert before + float(found.logprobs[k, j]) == pytest.approx(whole, abs=1e-3)
            assert count + int(found.lengths[k, j]) == ids.shape[1] - 1


def test_plain_reading_gives_the_same(model, tokenizer, monkeypatch):
    ours = score(model, tokenizer, PROMPTS, LABELS)
    monkeypatch.setattr(scoring, "read", forward.read_plain)
    plain = score(model, tokenizer, PROMPTS, LABELS)
    torch.testing.assert_close(ours.logprobs, plain.logprobs, atol=1e-4, rtol=0)
    assert (ours.greedy, ours.constrained) == (plain.greedy, plain.constrained)
    assert ours.tokens < plain.tokens / 2


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_joined_texts_are_tokenised_as_a_whole(tokenizer, data):
    pieces = st.sampled_from([*TEXT.split(" "), " ", ", ", ":", "\n", "<bos>", "1", "un", "a"])
    write = st.lists(pieces, max_size=60).map("".join)
    prompts = ["<bos>" + data.draw(write) for _ in range(2)]
    labels = data.draw(st.lists(st.lists(pieces, min_size=1, max_size=3).map("".join), min_size=1, max_size=4))
    for prompt, question in zip(prompts, scoring.tokenise(tokenizer, prompts, labels), strict=True):
        assert question.context + question.prompt == encode(tokenizer, prompt)
        for label, answer in zip(labels, question.answers, strict=True):
            assert question.context + answer == encode(tokenizer, prompt + label)


def test_where_the_border_merges_all_labels_cover_the_same_text(model):
    tokenizer = train(byte_level)
    prompt = "<bos>the"
    question = scoring.tokenise(tokenizer, [prompt], ["re", " cat", "m"])[0]
    texts = {tokenizer.decode(question.context + answer) for answer in question.answers}
    assert texts == {prompt + "re", prompt + " cat", prompt + "m"}


@pytest.mark.parametrize("window", [1, 3, 16])
@pytest.mark.parametrize("most", [1, 4])
def test_scores_do_not_depend_on_windows(model, monkeypatch, window, most):
    tokenizer = train(byte_level)
    expected = score(model, tokenizer, PROMPTS, LABELS)
    monkeypatch.setattr(forward, "width", lambda model: window)
    monkeypatch.setattr(forward, "most_logits", lambda model: most)
    monkeypatch.setattr(scoring, "BLOCK", 2 * len(LABELS))
    found = score(model, tokenizer, PROMPTS, LABELS)
    torch.testing.assert_close(found.logprobs, expected.logprobs, atol=1e-4, rtol=0)


def test_scores_do_not_depend_on_order_company_or_padding_side(model, tokenizer):
    expected = label_logprobs(model, tokenizer, PROMPTS, LABELS)
    rng = random.Random(0)
    rows, columns = rng.sample(range(len(PROMPTS)), len(PROMPTS)), rng.sample(range(len(LABELS)), len(LABELS))
    for side in ("left", "right"):
        tokenizer.padding_side = side
        found = label_logprobs(model, tokenizer, [PROMPTS[k] for k in rows], [LABELS[k] for k in columns])
        torch.testing.assert_close(found, expected[rows][:, columns], atol=1e-4, rtol=0)
    alone = torch.cat([label_logprobs(model, tokenizer, [prompt], LABELS) for prompt in PROMPTS])
    torch.testing.assert_close(alone, expected, atol=1e-4, rtol=0)


def test_lengths_count_the_tokens_summed(model):
    tokenizer = train(characters)
    labels = ["no", "no match", ""]
    assert score(model, tokenizer, PROMPTS[:1], labels).lengths.tolist() == [[3, 9, 1]]
    assert score(model, tokenizer, PROMPTS[:1], labels, add_eos=False).lengths.tolist() == [[2, 8, 0]]


def test_no_prompts_give_no_scores(model):
    tokenizer = train(characters)
    assert label_logprobs(model, tokenizer, [], LABELS).shape == (0, len(LABELS))
    assert generate(model, tokenizer, [], LABELS, max_new_tokens=3) == []


def test_a_prompt_that_leaves_no_context_is_refused(model):
    with pytest.raises(ValueError, match="no token of the prompt"):
        score(model, train(characters), [""], LABELS)


def test_the_mode_of_the_model_is_kept(model):
    model.train()
    model.lm_head.eval()
    label_logprobs(model, train(characters), PROMPTS, LABELS)
    assert model.training
    assert not model.lm_head.training
    model.eval()


def generated(model, tokenizer, prompts, count):
    texts = []
    for prompt in prompts:
        ids = torch.tensor([encode(tokenizer, prompt)])
        output = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count)
        texts.append(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))
    return texts


@pytest.fixture(scope="module")
def talker():
    """A model that stops after a few characters, and its tokenizer; prompts of which it reads some as labels."""
    tokenizer = train(characters)
    rng = random.Random(1)
    prompts = ["<bos>" + "".join(rng.choices("abcehimnostuy ,:", k=rng.randint(3, 40))) for _ in range(40)]
    model = tiny(len(tokenizer))
    with torch.no_grad():
        ids, attention = forward.pad([encode(tokenizer, prompt) for prompt in prompts], model.device)
        states = model.model(ids, attention_mask=attention).last_hidden_state[attention.bool()]
        usual = states.mean(0)
        model.lm_head.weight[:5] = 0
        likely = model.lm_head(states).max(-1).values.mean()
        model.lm_head.weight[2] = usual * likely / usual.dot(usual)  # the end is about as likely as the best token
    return model, tokenizer, prompts


@pytest.mark.parametrize("limit", [1, 3, 12])
def test_completions_are_those_of_generate(talker, limit):
    model, tokenizer, prompts = talker
    free = generated(model, tokenizer, prompts, 12)
    labels = [*sorted(set(free[::2]) - {""}), "zz"]
    scores = score(model, tokenizer, prompts, labels)
    inside = [ids is not None for ids in scores.greedy]
    assert any(inside)
    assert not all(inside)
    written = generate(model, tokenizer, prompts, labels, max_new_tokens=12)
    assert all(known in (None, ids) for known, ids in zip(scores.greedy, written, strict=True))
    expected = generated(model, tokenizer, prompts, limit)
    assert decoded(tokenizer, [ids[:limit] for ids in written]) == expected
    assert decoded(tokenizer, generate(model, tokenizer, prompts, labels, max_new_tokens=limit)) == expected


def decoded(tokenizer, rows):
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in rows]


def test_a_repetition_penalty_is_obeyed(talker):
    model, tokenizer, prompts = talker
    labels = sorted(set(generated(model, tokenizer, prompts, 12)) - {""})
    model.generation_config.repetition_penalty = 2.0
    expected = generated(model, tokenizer, prompts, 12)
    assert decoded(tokenizer, generate(model, tokenizer, prompts, labels, max_new_tokens=12)) == expected
    model.generation_config.repetition_penalty = None


@torch.no_grad()
def walk_among(model, tokenizer, prompt, labels):
    """Constrained greedy decoding, token by token."""
    ids = encode(tokenizer, prompt)
    answers = [[*encode(tokenizer, label), tokenizer.eos_token_id] for label in labels]
    written = []
    while written not in answers:
        logits = model(torch.tensor([ids + written])).logits[0, -1]
        allowed = sorted({a[len(written)] for a in answers if a[: len(written)] == written})
        written.append(max(allowed, key=lambda token: logits[token].item()))
    return answers.index(written)


def test_constrained_choice_is_greedy_decoding_among_the_labels(model):
    tokenizer = train(characters)
    labels = ["no", "no match", "not", "yes", "yes yes", "able", "a"]
    prompts = [f"{prompt}{extra}" for prompt in PROMPTS for extra in ("", "!", "cat", " on", "mm")]
    expected = [walk_among(model, tokenizer, prompt, labels) for prompt in prompts]
    assert score(model, tokenizer, prompts, labels).constrained == expected
    assert score(model, tokenizer, prompts, labels, add_eos=False).constrained == expected
    assert len(set(expected)) > 2


def test_an_empty_completion_is_known_too():
    tokenizer = train(characters)
    model = tiny(len(tokenizer))
    with torch.no_grad():
        model.lm_head.weight.zero_()
    model.lm_head.bias = torch.nn.Parameter(torch.eye(len(tokenizer))[tokenizer.eos_token_id])
    assert score(model, tokenizer, PROMPTS, ["a"]).greedy == [[]] * len(PROMPTS)
