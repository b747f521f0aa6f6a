"""The Hugging Face hub: whether it can be reached is found out once, before its libraries try again and again."""

from functools import cache

SECONDS = 3  # to wait for an answer


@cache
def is_out_of_reach() -> bool:
    """Whether the hub does not answer; its libraries then look in their cache alone, as with HF_HUB_OFFLINE=1."""
    import datasets
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return True
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception:  # no network, no such host, no answer in time; its type is that of the hub's HTTP client
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    return constants.HF_HUB_OFFLINE
