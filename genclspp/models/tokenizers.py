"""A model's tokenizer, the frame that its chat template puts around a prompt, and the token budget of a prompt.

Prompts contain every special token as text, so the tokenizers loaded here add none of their own: training,
generation and scoring see the same tokens, in every library.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from genclspp.models import folders
from genclspp.models.policy import Policy
from genclspp.prompts import thoughts
from genclspp.prompts.draft import BEYOND, Budget, Frame, Turns
from genclspp.prompts.surfaces import parse
from genclspp.settings import ModelSettings
from genclspp.suggest import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens that a thought may take: beyond the longest rationale; in all, without rationales.
SPARE, UNKNOWN = 8, 128

SENTINEL = "\u2063"  # invisible, and in no template
# Some chat templates write today's date, which would change the prompts, and so all keys, from day to day.
TODAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"


def tokenizer(policy: Policy) -> "PreTrainedTokenizerBase":
    """The tokenizer of the base model, which adds no special tokens and pads on the left.

    raises: UserError if it cannot be loaded, is not a fast one, or has no end-of-sequence token
    """
    return _tokenizer(replace(policy, trained=None))


@cache
def _tokenizer(policy: Policy) -> "PreTrainedTokenizerBase":
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    settings = policy.settings
    try:
        tokens = AutoTokenizer.from_pretrained(policy.folder, trust_remote_code=settings.trust_remote_code)
    except Exception as error:  # a broken file raises a KeyError, a TypeError or a bare Exception
        raise UserError(f"the tokenizer in {policy.folder} cannot be loaded: {folders.reason(error)}") from error
    if not tokens.is_fast:
        raise UserError(f"the tokenizer in {policy.folder} is a slow one; expected a fast one (tokenizer.json)")
    tokens.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B")
    for name in ("bos", "eos"):
        token = getattr(settings, name)
        if token and token not in tokens.get_vocab():
            raise UserError(f"model.{name}={token!r} is not in the vocabulary of the model in {policy.folder}")
    if settings.bos:
        tokens.bos_token = settings.bos
    # A chat model ends a turn with the token of its template, whatever its tokenizer calls eos.
    if eos := settings.eos or _turn_end(tokens, settings):
        tokens.eos_token = eos
    if tokens.eos_token is None:
        raise UserError(f"the tokenizer in {policy.folder} has no end-of-sequence token; set model.eos")
    tokens.pad_token = tokens.pad_token or tokens.eos_token
    tokens.padding_side = "left"
    tokens.model_max_length = int(1e9)  # no limit here: `budget` keeps prompts short enough
    return tokens


def _turn_end(tokens: "PreTrainedTokenizerBase", settings: ModelSettings) -> str | None:
    """The special token that the chat template writes right after an assistant message; None if there is none."""
    if not tokens.chat_template:
        return None
    roles = [("user", "text"), ("assistant", SENTINEL), ("user", "text")]
    messages = [{"role": role, "content": content} for role, content in roles]
    try:
        text = str(tokens.apply_chat_template(messages, tokenize=False, **settings.chat_args))
    except Exception:  # a template that knows no earlier turns: `frame` says so where they are wanted
        return None
    after = text.partition(SENTINEL)[2]
    return next((token for token in special(tokens) if after.startswith(token)), None)


def newlines(policy: Policy) -> frozenset[int]:
    """The tokens whose text has a line break."""
    return _newlines(replace(policy, trained=None))


@cache
def _newlines(policy: Policy) -> frozenset[int]:
    tokens = tokenizer(policy)
    texts = tokens.batch_decode([[token] for token in range(len(tokens))])
    return frozenset(token for token, text in enumerate(texts) if "\n" in text)


def frame(policy: Policy) -> Frame:
    """What stands around every prompt: the turns of the chat template if there is one, else the BOS token.

    raises: UserError if the chat template does not write the user's text
    """
    return _frame(replace(policy, trained=None))


@cache
def _frame(policy: Policy) -> Frame:
    tokens = tokenizer(policy)
    reserved, how = special(tokens), layout(policy)
    if how == "plain":
        return Frame(before=str(tokens.bos_token or ""), reserved=reserved)
    if how == "single":
        before, after = _between(policy, ["user"])
        return Frame(before, after, joint="", reserved=reserved)
    # What is written between turns must not depend on how many there are.
    before, query, after = _between(policy, ["system", "user"])
    _, first, answer, following, last = _between(policy, ["system", "user", "assistant", "user"])
    longer = _between(policy, ["system", "user", "assistant", "user", "assistant", "user"])
    if longer != [before, query, answer, following, answer, following, after] or (first, last) != (query, after):
        raise UserError(
            f"the chat template in {policy.folder} does not write all earlier turns alike; expected layout=single"
        )
    return Frame(before, after, joint="", reserved=reserved, turns=Turns(query, answer, following))


def layout(policy: Policy) -> str:
    """Where demonstrations stand: as set, else "turns" with a chat template and "plain" without one.

    raises: UserError for turns without a chat template
    """
    has_template, wanted = bool(tokenizer(policy).chat_template), policy.settings.layout
    if wanted in ("turns", "single") and not has_template:
        raise UserError(
            f"layout={wanted} needs a chat template, and the model in {policy.folder} has none; expected "
            "layout=plain"
        )
    return wanted or ("turns" if has_template else "plain")


def _between(policy: Policy, roles: Sequence[str]) -> list[str]:
    """What the chat template writes before, between and after messages of these roles.

    A template that knows no system message gets its text at the beginning of the first user's message.
    """
    tokens = tokenizer(policy)
    marks = [f"{SENTINEL}message {place}{SENTINEL}" for place in range(len(roles))]
    messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
    template = f"{TODAY}{tokens.get_chat_template()}"
    given = {"chat_template": template, "add_generation_prompt": True, **policy.settings.chat_args}
    merged = [{"role": "user", "content": "\n\n".join(marks[:2])}, *messages[2:]]
    for attempt in (messages, merged) if roles[0] == "system" else (messages,):
        try:
            text = str(tokens.apply_chat_template(attempt, tokenize=False, **given))
        except Exception:  # jinja2's, such as "system role not supported"; a template may raise anything
            continue
        pieces = re.split("|".join(map(re.escape, marks)), text)
        if len(pieces) == len(marks) + 1:
            return pieces
    raise UserError(
        f"the chat template in {policy.folder} does not write the texts of its messages; expected layout=plain"
    )


def special(tokens: "PreTrainedTokenizerBase") -> tuple[str, ...]:
    """All special tokens, longest first, also those without a role such as bos or eos (Llama's headers)."""
    added = {token.content for token in tokens.added_tokens_decoder.values() if token.special}
    return tuple(sorted(added.union(map(str, tokens.all_special_tokens)), key=lambda token: (-len(token), token)))


def check_answers(policy: Policy, surfaces: Mapping[str, str], joint: str) -> None:
    """Raise UserError if a surface, encoded and decoded, does not parse to its label (unknown characters).

    surfaces: label -> surface
    joint:    text before the surface in a completion
    """
    tokens = tokenizer(policy)
    for label, surface in surfaces.items():
        ids = tokens.encode(joint + surface, add_special_tokens=False)
        written = tokens.decode(ids, skip_special_tokens=True).strip()
        if parse(written, surfaces) != label:
            raise UserError(
                f"the tokenizer in {policy.folder} cannot write the answer {surface!r}: it reads back as "
                f"{written!r}; choose other dataset.names, strategy=numeric or another model"
            )


def budget(policy: Policy, completions: Sequence[str], thought_tokens: int = 0, answer_tokens: int = 0) -> Budget:
    """The tokens that a model's positions leave for a prompt, next to its completion.

    completions:    the answers, as they are written after the prompt
    thought_tokens: to reserve for a thought
    answer_tokens:  to reserve for what follows the thought, at least; the longest of `completions` with its EOS
                    token and `BEYOND` more always has room
    """
    tokens = tokenizer(policy)
    longest = max(map(len, tokens(list(completions), add_special_tokens=False)["input_ids"]))
    # The last token written is never read, which leaves one position to spare. It may be needed: joined, prompt
    # and answer may take one token more than apart.
    written = thought_tokens + max(longest + 1 + BEYOND, answer_tokens)
    limit = max(max_length(policy) - written, 0)
    return Budget(lambda text: len(tokens.encode(text, add_special_tokens=False)), limit, longest)


def thought_tokens(policy: Policy, rationales: Sequence[str], wanted: int | None) -> int:
    """Tokens that a thought may take, closing tag included: `wanted`, or a little more than the longest rationale.

    raises: UserError if `wanted` leaves no room beside the closing tag
    """
    tokens = tokenizer(policy)
    known = [rationale for rationale in rationales if rationale.strip()]
    closing, *taken = (
        len(ids)
        for ids in tokens([thoughts.closed(text) for text in ("", *known)], add_special_tokens=False)["input_ids"]
    )
    if wanted is None:
        return min(max(taken) + SPARE if taken else UNKNOWN, max_length(policy) // 2)
    if wanted <= closing:
        why = f"the closing tag takes {closing} of them"
        raise UserError(f"reasoning.max_thought_tokens={wanted}; expected {closing + 1} or more: {why}")
    return wanted


def max_length(policy: Policy) -> int:
    """Positions that may be used: as many as the model has, or fewer by `model.max_length`; 2048 if unknown.

    raises: UserError if `model.max_length` exceeds what the model has
    """
    config = folders.read_config(policy.folder)
    config = config.get("text_config", config)
    own = config.get("max_position_embeddings") or config.get("n_positions")
    wanted = policy.settings.max_length
    if own and wanted and wanted > own:
        raise UserError(f"model.max_length={wanted} exceeds the {own} positions of the model in {policy.folder}")
    return wanted or own or 2048
