"""The words of the built-in tickets: requests, asides, fillers, and the noise over them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Phrases:
    """requests: what a customer writes, common phrasings first; reasons: why the request has its label."""

    requests: tuple[str, ...]
    reasons: tuple[str, ...]


CLEAR = {
    "refund": Phrases(
        (
            "Please give me my money back for the {item}",
            "I want a refund for the {item}",
            "I sent the {item} back and would like the {amount} returned to my card",
            "The {plan} renewed by mistake, please pay the {amount} back",
            "Can you reimburse me for order {order}?",
            "You charged me {amount} twice, I expect one of them back",
            "How do I get my {amount} back? The {item} is not what I hoped for",
            "The {item} is {cheaper} now, will you pay me the difference?",
            "I'd like to return the {item} and be paid back",
            "The parcel came {late} too late for the party, I ask you to return what I paid",
            "Kindly reverse the payment for the {item}",
            "I never agreed to pay {amount} for the {plan} and want it credited to me",
            "My {relative} ordered the {item} from my account without asking. Is there a way to undo the payment?",
            "I am not satisfied with the {item}, what about the money-back guarantee?",
            "The courier lost order {order}, so I want the {amount} back and no new parcel",
            "Who do I speak to about compensation of {amount}? I closed the order and paid all the same",
            "I cancelled {late} ago and still paid {amount}, kindly send it back",
        ),
        (
            "the customer asks for money back",
            "money is to be returned, and nobody has promised it yet",
            "the request is to be paid back",
        ),
    ),
    "refund status": Phrases(
        (
            "When will my refund for the {item} arrive?",
            "You promised me {amount} back {late} ago and nothing came",
            "I was told the money would be on my card by {day}, where is it?",
            "Has the refund for order {order} been sent yet?",
            "My return was accepted {late} ago but the {amount} is still missing",
            "{name} from your team approved the refund, how long does it take?",
            "Still waiting for the repayment you confirmed on {day}",
            "Can you check what happened to the {amount} you were going to send back?",
            "The mail says that my money is on its way, my bank sees nothing",
            "You wrote that the charge of {amount} would be reversed. My statement does not show it yet",
            "Was the {amount} for the cancelled {plan} already paid out?",
            "Any news on the money for the broken {item} that {name} agreed to return?",
            "Is the reimbursement for the lost parcel on its way? It was granted on {day}",
            "Which card did you send the {amount} to? It was due on {day}",
        ),
        (
            "the money was promised already, and the customer asks where it is",
            "the customer follows up on a refund that was granted",
            "this asks how far an agreed refund has got",
        ),
    ),
    "billing": Phrases(
        (
            "What is the charge of {amount} on my statement for?",
            "Why is my invoice higher than in {month}?",
            "I need an invoice for order {order} with my company's name",
            "Can you explain the {amount} fee?",
            "How much does the {plan} cost per year?",
            "Did the price of the {plan} go up?",
            "I see two payments of {amount}, is one of them a deposit?",
            "On which day of the month do you take the money for the {plan}?",
            "Please send me the receipt for the {item}",
            "Does the {amount} include tax?",
            "My bill lists a {item} that I do not recognise, what is it?",
            "Do I pay for the delivery of order {order} separately?",
            "Would I be billed again if I stop the {plan} in {month}?",
            "Is there a fee when I return the {item}?",
            "My voucher was not taken off the total of {amount}, how is it worked out?",
            "The sum in my account does not match the one in your mail, which one is right?",
            "Can I pay for the {item} in instalments?",
        ),
        (
            "the customer wants a charge or an invoice explained",
            "the question is about prices and payments, no money is asked back",
            "this is about what was billed",
        ),
    ),
    "cancellation": Phrases(
        (
            "Please cancel my {plan}",
            "I want to cancel order {order}",
            "How do I end my {plan}?",
            "I don't want the {item} any more, stop the order please",
            "Please don't renew the {plan} in {month}",
            "Take me off the {plan} as of {day}",
            "I would like to unsubscribe from the {plan}",
            "Call off the delivery of the {item}, I found one in a shop",
            "We are moving abroad and have no use for the {plan} from {month}",
            "I ordered the {item} by accident, please do not send it",
            "Close my account for good",
            "Can I still withdraw from order {order}? It has not been sent",
            "The {plan} is too expensive for me at {amount}, I quit",
            "Stop charging me for the {plan} from now on",
            "My {relative} has the same {plan}, so mine can be dropped",
            "I tried to sign in to stop my {plan}, but there is no such button",
        ),
        (
            "the customer wants to end or call off something",
            "a membership or an order is to be stopped",
            "the customer no longer wants what was ordered",
        ),
    ),
    "delivery": Phrases(
        (
            "Where is my parcel?",
            "When will the {item} arrive?",
            "Order {order} should have come on {day}",
            "The tracking has not moved for {late}",
            "Has the {item} been sent yet?",
            "The courier says it was delivered but there is nothing here",
            "Can you tell me which day the {item} comes?",
            "I am still waiting for the {item} that I paid {late} ago",
            "My {relative} says the parcel went to the old address, can you find it?",
            "Will the {item} be here before {day}?",
            "Tracking number for order {order} please",
            "The replacement for the broken {item} has not come yet, when can I expect it?",
            "Is the {item} lost? I was at home all {day}",
            "Your mail promised {day}, and the van did not come",
            "How long does shipping take to {city}?",
            "Only one of two boxes is here, is the other with the {item} still on its way?",
        ),
        (
            "the customer asks where a parcel is",
            "the question is when something will arrive",
            "this is about a shipment on its way",
        ),
    ),
    "damaged item": Phrases(
        (
            "The {item} arrived broken",
            "My {item} came with a crack, please send a new one",
            "You sent me the wrong {item}",
            "There are parts missing from the {item}",
            "The {item} does not work, can it be exchanged?",
            "The {item} stopped working after {late}",
            "I unpacked the {item} and it is scratched all over",
            "I ordered a {item} and got a {item}",
            "The box was crushed and so is the {item}",
            "The {item} has the wrong colour, I need a replacement",
            "The delivery came on {day}, but the {item} smells of smoke and leaks",
            "Who repairs the {item}? It won't switch on",
            "I'd like to swap the {item}, one side is torn",
            "A screw is missing, without it the {item} is of no use. Please post one to me",
            "The {item} from order {order} looks used",
            "I don't want my money back, I want a {item} that works",
        ),
        (
            "the item came broken, wrong or incomplete",
            "the customer wants a faulty item put right",
            "this is about the state of the item",
        ),
    ),
    "login": Phrases(
        (
            "I can't log in",
            "My password does not work any more",
            "The reset mail never arrives",
            "It says that my account is locked",
            "The code for signing in is never accepted",
            "I forgot my password, and {email} gets no link",
            "Since {day} the app throws me out as soon as I open it",
            "The page keeps saying wrong password, though I changed it on {day}",
            "How do I get back into my account?",
            "I wanted to pay {amount} but the site does not let me in",
            "I cannot see my orders because the sign-in page is empty",
            "My new phone asks for a code, and the old phone is gone",
            "It does not know my email {email} although I have the {plan}",
            "I am blocked after three tries, please unlock me",
            "I can't reach the page to track order {order}, it always asks me to sign in again",
            "Your app forgets who I am every time, and then my name and password are refused",
        ),
        (
            "the customer cannot get into the account",
            "signing in fails",
            "this is about access to the account",
        ),
    ),
    "account change": Phrases(
        (
            "Please change my address to {street}",
            "I have a new email, {email}",
            "How can I update my card?",
            "My name is now {name}, please correct it",
            "I want to pay from another bank account in future",
            "Where do I change the phone number on my account?",
            "We moved to {city}, so please send things there from now on",
            "Can I switch from the {plan} to a smaller one?",
            "Please write {email} into my profile",
            "My {relative} should be able to order with my account as well",
            "I'd like to change my password, where is that setting?",
            "Please send my invoices to {email} from {month}",
            "My card runs out in {month}, here is how to reach me for the new one",
            "Turn off the newsletter, but leave the rest of my account alone",
            "The street in my account is misspelt, it should read {street}",
            "Could you put order {order} and the {plan} under one account?",
        ),
        (
            "the customer wants details of the account changed",
            "this is about what is kept in the account",
            "data in the account is to be updated",
        ),
    ),
}

AMBIGUOUS = {
    ("refund", "billing"): (
        "I was charged {amount} twice for the {item}, please look into it",
        "There are {amount} on my card that should not be there",
        "Your bill of {amount} for the {plan} is wrong, sort it out",
        "I paid {amount} too much in {month}",
    ),
    ("refund", "refund status"): (
        "I returned the {item} {late} ago and have no money yet",
        "What about my {amount} for order {order}? I wrote to you on {day}",
        "It is about the refund of {amount} for the {item}",
        "The {amount} for the returned {item} is not on my card",
    ),
    ("refund", "damaged item"): (
        "The {item} came broken, what do you do about it?",
        "I am not keeping this broken {item}",
        "The {item} is faulty and I want to send it back",
        "The wrong {item} came, I paid {amount} for something else",
    ),
    ("cancellation", "billing"): (
        "I thought the {plan} had ended, why do you take {amount}?",
        "I do not want to pay {amount} for the {plan}",
        "What is it with the {plan}? I did not mean to go on with it in {month}",
        "The {plan} shows up on my bill again",
    ),
    ("cancellation", "delivery"): (
        "If the {item} is not here by {day} I no longer need it",
        "Order {order} takes too long, what can be done?",
        "The {item} still has not come and I bought one elsewhere",
        "It has been {late} now, I am losing interest in the {item}",
    ),
    ("login", "account change"): (
        "I no longer have the email I sign in with",
        "My phone number is new, and the code goes to the old one",
        "Please reset my account to {email}",
        "The password of my account has to be changed",
    ),
    ("delivery", "account change"): (
        "Order {order} is going to my old address",
        "We moved to {street}, and the {item} is on its way",
        "The address for the {item} is wrong",
        "The {item} should come to {city} and not to my old flat",
    ),
}

# Background that says nothing about the label, though it uses the labels' words.
BACKGROUND = (
    "I ordered a {item} in {month}.",
    "I have had the {plan} since {month}.",
    "My order number is {order}.",
    "I paid {amount} by card.",
    "The last delivery was quick, by the way.",
    "I bought the {item} for my {relative}.",
    "I already wrote to {name} on {day}.",
    "The refund in {month} went well, thanks.",
    "I changed my address in {month}.",
    "My invoice from {month} is attached.",
    "My account runs under {email}.",
    "Your chat sent me here.",
    "My {relative} recommended your shop.",
    "I returned a {item} last year.",
    "I called {name} and waited for ages.",
    "I live in {city}.",
    "The {item} I bought in {month} still works fine.",
)
# What the ticket is not about: readers understand this, a bag-of-words model is misled.
ASIDES = {
    "refund": ("I do not need a refund.", "You can keep the money.", "This is not about money back."),
    "refund status": ("The refund from {month} did arrive.", "My last refund has come, thank you."),
    "billing": ("The invoice is fine.", "I have no question about the bill.", "The charge itself is correct."),
    "cancellation": ("I do not want to cancel the {plan}.", "I keep the {plan}.", "No need to cancel anything."),
    "delivery": ("The parcel did arrive on {day}.", "The delivery was on time.", "The tracking works."),
    "damaged item": ("The {item} itself is fine.", "Nothing is broken.", "The {item} works well."),
    "login": ("I can log in.", "My password works.", "Signing in is no problem."),
    "account change": ("My address is still the same.", "My card and email stay as they are."),
}

GREETINGS = ("Hi", "Hello", "Hi there", "Hello team", "Dear team", "Good morning", "Hey", "Good evening")
CLOSINGS = (
    "Thanks.",
    "Thank you!",
    "Please help.",
    "Best, {name}",
    "Please answer soon.",
    "Many thanks in advance",
    "This is annoying.",
    "I'm waiting for your answer.",
    "{name}",
    "Regards",
)

FILLERS = {
    "item": (
        "lamp", "kettle", "desk", "blue jacket", "office chair", "phone case", "rucksack", "bookshelf", "toaster",
        "tent", "bicycle helmet", "keyboard", "coffee grinder", "rug", "mirror", "headset", "garden hose",
        "teapot", "scarf", "camera", "puzzle", "drill", "pan", "clock", "raincoat", "speaker", "cot", "vase",
    ),
    "plan": (
        "membership", "premium plan", "monthly box", "subscription", "family plan", "coffee club", "plus plan",
    ),
    "relative": ("sister", "son", "wife", "husband", "mother", "neighbour", "father", "daughter", "flatmate"),
    "month": ("January", "March", "April", "May", "June", "August", "October", "November"),
    "day": ("Monday", "Tuesday", "Thursday", "Friday", "Saturday", "the 3rd", "the 12th", "the 21st", "the 30th"),
    "late": ("three days", "a week", "two weeks", "ten days", "a month", "five days"),
    "city": ("Leeds", "Bristol", "Cork", "Dundee", "Exeter", "Ghent", "Malmö", "Turin"),
    "name": ("Anna", "Tom", "Priya", "Marek", "Lucía", "Joan", "Wei", "Amir", "Olga", "Sam"),
    "cheaper": ("cheaper", "on sale", "ten percent off"),
}  # fmt: skip

# Synonyms for words in requests, so that the same phrasing seldom occurs twice.
SYNONYMS = {
    "parcel": ("package", "shipment", "box"),
    "refund": ("repayment", "reimbursement"),
    "money": ("cash", "sum", "payment"),
    "charge": ("debit", "payment", "bill"),
    "charged": ("debited", "billed"),
    "paid": ("spent", "was charged"),
    "invoice": ("bill", "receipt"),
    "bill": ("invoice", "statement"),
    "cancel": ("stop", "end"),
    "arrive": ("get here", "come", "turn up"),
    "arrived": ("turned up", "got here", "came"),
    "came": ("arrived", "was delivered"),
    "broken": ("damaged", "defective", "faulty"),
    "sent": ("posted", "shipped"),
    "send": ("post", "ship"),
    "password": ("passcode", "login"),
    "account": ("profile", "customer account"),
    "change": ("update", "edit"),
    "address": ("street address", "location"),
    "want": ("need",),
    "please": ("pls", "kindly"),
    "code": ("pin",),
    "email": ("mail address", "e-mail"),
    "waiting": ("hoping",),
}


def draw(choices: Sequence[str], random: Random) -> str:
    """One of the choices; earlier ones are more likely, so that some phrasings are rare."""
    weights = [1 / (rank + 2) for rank in range(len(choices))]
    return random.choices(choices, weights)[0]


def reword(template: str, random: Random) -> str:
    """The template with some words replaced by synonyms; slots stay."""
    return re.sub(r"(?<![\w{])[a-z]+(?![\w}])", lambda match: _synonym(match[0], random), template)


def fill(template: str, random: Random) -> str:
    """The template with a filler for each {slot}."""
    return re.sub(r"\{(\w+)\}", lambda match: _filler(match[1], random), template)


def _synonym(word: str, random: Random) -> str:
    return random.choice(SYNONYMS[word]) if word in SYNONYMS and random.random() < 0.35 else word


def _filler(slot: str, random: Random) -> str:
    number = random.randrange
    if slot == "amount":
        return random.choice(("£{}.{:02}", "{}.{:02} euros", "${}.{:02}")).format(number(4, 250), number(100))
    if slot == "order":
        return random.choice(("#{}", "no. {}", "{}")).format(number(10_000, 99_999))
    if slot == "email":
        return f"{random.choice(FILLERS['name']).lower()}{number(10, 99)}@example.org"
    if slot == "street":
        return f"{number(1, 120)} {random.choice(('Mill', 'Church', 'Park', 'Station', 'Hill'))} Road"
    return random.choice(FILLERS[slot])


def aside(label: str, random: Random) -> str:
    """Sometimes, a sentence about another label than the ticket's; else an empty string."""
    if random.random() > 0.4:
        return ""
    other = random.choice([name for name in ASIDES if name != label and not name.startswith(label)])
    return fill(random.choice(ASIDES[other]), random)


def dress(request: str, aside: str, random: Random) -> str:
    """The whole ticket: the request among background, greeting and closing, with the slips of a hurried writer."""
    body = [request if request[-1] in "?!." else request + "."]
    if aside:
        body.insert(random.randrange(2), aside)
    if random.random() < 0.6:
        body.insert(random.choice((0, 0, len(body))), fill(random.choice(BACKGROUND), random))
    if random.random() < 0.4:
        body.insert(0, random.choice(GREETINGS) + random.choice((",", "!", "")))
    if random.random() < 0.4:
        body.append(fill(random.choice(CLOSINGS), random))
    return _noise(" ".join(body), random)


def _noise(text: str, random: Random) -> str:
    for _ in range(random.choice((0, 0, 0, 1, 1, 2))):
        text = _typo(text, random)
    if random.random() < 0.25:
        text = text.lower()
    if random.random() < 0.15:
        text = text.replace("'", "").replace(",", "")
    if random.random() < 0.1:
        text = text.rstrip(".") + random.choice(("!!", "...", "??"))
    return text


def _typo(text: str, random: Random) -> str:
    """One typing error inside a word: two letters swapped, one left out, or one doubled."""
    inside = [n for n in range(1, len(text) - 2) if text[n - 1 : n + 2].isalpha()]
    if not inside:
        return text
    at = random.choice(inside)
    slip = random.choice((text[at + 1] + text[at], text[at + 1], text[at] * 2 + text[at + 1]))
    return text[:at] + slip + text[at + 2 :]
