"""The built-in task: generated support tickets of an invented web shop.

A ticket is a request (what the customer wants: its label) among small talk, background and noise. Labels
share their words ("charge", "refund", "account", "parcel"), and one ticket in ten fits two labels equally:
its gold label is a coin flip, and `Example.ambiguous` says so. The expected accuracy of any model is therefore
at most 95 %.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random

from genclspp.data import phrases
from genclspp.data.phrases import AMBIGUOUS, CLEAR
from genclspp.task import Example, normalise

SIZES = {"train": 1000, "validation": 200, "test": 500}
# One block of twenty tickets: eighteen clear ones, by label, and two that fit two labels.
SHARES = {
    "refund": 3,
    "refund status": 2,
    "billing": 3,
    "cancellation": 2,
    "delivery": 2,
    "damaged item": 2,
    "login": 2,
    "account change": 2,
}
LABELS = tuple(SHARES)
AMBIGUOUS_PER_BLOCK = 2
DEFINITIONS = {
    "refund": "The customer asks for money back that has not been promised yet.",
    "refund status": "The customer asks where money is that was already promised back.",
    "billing": "The customer asks about a charge, a price or an invoice, without asking for the money back.",
    "cancellation": "The customer wants to end a membership or to call off an order.",
    "delivery": "The customer asks where a parcel is or when it will come.",
    "damaged item": "An item came broken, incomplete or wrong, and the customer wants it put right.",
    "login": "The customer cannot sign in.",
    "account change": "The customer wants to change details of the account: address, email, payment or name.",
}
INSTRUCTIONS = {
    "en": "Classify the support ticket by what the customer wants.",
    "zh": "请根据客户的诉求对工单进行分类。",
}


def generate(sizes: Mapping[str, int], seed: int) -> dict[str, tuple[Example, ...]]:
    """Generate `sizes[split]` tickets for each split; no two tickets share a normalised text, across all splits.

    Test is generated first, so that its tickets do not depend on how many train tickets are asked for.
    """
    seen: set[str] = set()
    splits = {}
    for split in ("test", "validation", "train"):
        random = Random(f"tickets-{seed}-{split}")
        splits[split] = tuple(_tickets(split, sizes.get(split, 0), random, seen))
    return {split: splits[split] for split in sizes}


def _tickets(split: str, size: int, random: Random, seen: set[str]) -> list[Example]:
    tickets: list[Example] = []
    while len(tickets) < size:
        for make in _block(random)[: size - len(tickets)]:
            ticket = make(f"{split}-{len(tickets)}")
            while normalise(ticket.text) in seen:
                ticket = make(ticket.id)
            seen.add(normalise(ticket.text))
            tickets.append(ticket)
    return tickets


def _block(random: Random) -> list[Callable[[str], Example]]:
    """Functions that make twenty tickets, shuffled: every stretch of tickets has the same mix of labels."""
    makers: list[Callable[[str], Example]] = []
    for label, count in SHARES.items():
        makers += [partial(_clear, label, random)] * count
    makers += [partial(_ambiguous, random)] * AMBIGUOUS_PER_BLOCK
    random.shuffle(makers)
    return makers


def _clear(label: str, random: Random, id: str) -> Example:
    request = _request(CLEAR[label].requests, random)
    reason = random.choice(CLEAR[label].reasons)
    aside = phrases.aside(label, random)
    text = phrases.dress(request, aside, random)
    return Example(id, text, label, rationale=f'"{request}": {reason}.', ambiguous=False)


def _ambiguous(random: Random, id: str) -> Example:
    pair = random.choice(list(AMBIGUOUS))
    label = random.choice(pair)
    request = _request(AMBIGUOUS[pair], random)
    reason = f"this fits {pair[0]} and {pair[1]}; {label} is taken"
    text = phrases.dress(request, "", random)
    return Example(id, text, label, rationale=f'"{request}": {reason}.', ambiguous=True)


def _request(templates: Sequence[str], random: Random) -> str:
    return phrases.fill(phrases.reword(phrases.draw(templates, random), random), random)
