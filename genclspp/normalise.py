"""When two texts count as the same text."""

import unicodedata


def normalise(text: str) -> str:
    """NFKC, lower case, letters and digits only; a text without any keeps its other characters.

    >>> normalise("Where's my  PARCEL?!") == normalise("where s my parcel")
    True
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    # ":-)" and ":-(" hold no letters, and are not the same text.
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())
