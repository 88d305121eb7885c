"""The readers, and which of them a file belongs to: recognised by its fields, never by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from ...errors import ConfigError, IngestError
from ..lines import printable
from ..opening import HEAD_BYTES
from ..seam import Reader
from . import (
    areal,
    azure_llm,
    burstgpt,
    candidates,
    claude_code,
    codex,
    engine_steps,
    engine_steps_metrics,
    inspect_eval,
    langfuse,
    litellm,
    litellm_adaptive,
    litellm_shadow,
    litellm_spend,
    mlflow,
    mooncake,
    openhands,
    otlp,
    otlp_binary,
    phoenix,
    prime_rl,
    prime_rl_tokens,
    semantic_router,
    semantic_router_events,
    semantic_router_samples,
    swe_agent,
    tau_bench,
    trl,
    verl,
    vllm_requests,
    vllm_requests_sglang,
)
from .peek import top_keys

READERS: Final[tuple[Reader, ...]] = (
    cast(Reader, otlp),
    cast(Reader, litellm),
    cast(Reader, litellm_spend),
    cast(Reader, tau_bench),
    cast(Reader, azure_llm),
    cast(Reader, mooncake),
    cast(Reader, langfuse),
    cast(Reader, verl),
    cast(Reader, trl),
    cast(Reader, areal),
    cast(Reader, prime_rl),
    cast(Reader, prime_rl_tokens),
    cast(Reader, burstgpt),
    cast(Reader, vllm_requests),
    cast(Reader, vllm_requests_sglang),
    cast(Reader, engine_steps),
    cast(Reader, engine_steps_metrics),
    cast(Reader, swe_agent),
    cast(Reader, inspect_eval),
    cast(Reader, claude_code),
    cast(Reader, codex),
    cast(Reader, openhands),
    cast(Reader, otlp_binary),
    cast(Reader, semantic_router),
    cast(Reader, semantic_router_events),
    cast(Reader, semantic_router_samples),
    cast(Reader, phoenix),
    cast(Reader, mlflow),
    cast(Reader, litellm_adaptive),
    cast(Reader, litellm_shadow),
    cast(Reader, candidates),
)
PARQUET_MAGIC: Final = b"PAR1"
_OF_A_SPAN: Final = frozenset({"openinference.span.kind", "gen_ai.operation.name"})
"""Attributes that every span of a dialect has."""
_PICKLE: Final = b"\x80"
_PROTOCOLS: Final = (b"\x02", b"\x03", b"\x04", b"\x05")
_ZIP: Final = b"PK\x03\x04"
_TORCH_MEMBER: Final = b"/data.pkl"
_TORCH_SEARCH: Final = 512
"""Bytes in which the first member's name of a torch archive stands, behind the name of its folder."""


class UnknownFormatError(IngestError):
    """No reader recognises the file; a mapping file may."""


def find_reader(head: bytes, *, name: str, format: str | None = None, own: Sequence[Reader] = ()) -> Reader:
    """The reader of the file called `name`, from its first decompressed bytes or by the user's `format`.

    own: readers of the user, which are asked before the built-in ones.

    Raises: ConfigError when `format` names no reader; IngestError when no reader or more than one matches.
    """
    if format is not None:
        return _named(format, (*own, *READERS))
    matching = [reader for reader in own if reader.sniff(head)]
    matching = matching or [reader for reader in READERS if reader.sniff(head)]
    if len(matching) == 1:
        return matching[0]
    where = printable(name)
    if matching:
        names = ", ".join(reader.NAME for reader in matching)
        raise IngestError(
            f"looks like several formats: {names}", where=where, cure="Choose one with --format."
        )
    raise _unknown(head, where=where, known=[reader.NAME for reader in (*own, *READERS)])


def _named(format: str, known: Sequence[Reader]) -> Reader:
    by_name = {reader.NAME: reader for reader in known}
    if format not in by_name:
        raise ConfigError.unknown_key(format, where="--format", known=by_name)
    return by_name[format]


def _unknown(head: bytes, *, where: str, known: list[str]) -> UnknownFormatError:
    """What a file that no reader recognises is, and what its user can do."""
    mapped = "a mapping file (--mapping FILE), or bring a reader (--reader FILE.py)."
    found, expected = _looks_like(head), f"one of {', '.join(known)}"
    cure = f"Describe its columns in {mapped}"
    if _is_pickle(head):
        found = "a Python pickle, which can run code and is never opened"
        cure = "Convert it to JSON Lines or Parquet where it was written."
    elif any(keys & _OF_A_SPAN for keys in top_keys(head)):
        found, expected = "attributes of spans without ids and times", "whole spans"
        cure = f"Export them as OTLP; or, where fields beside them hold id and time, state these in {mapped}"
    return UnknownFormatError(found, where=where, expected=expected, cure=cure)


def _looks_like(head: bytes) -> str:
    if not head.strip():
        return "the file is empty"
    if head.startswith(PARQUET_MAGIC):
        return "a Parquet file, not a known format"
    if b"\0" in head or _is_binary(head):
        return "binary data, not a known format"
    if b"\n" not in head and len(head) >= HEAD_BYTES:
        return f"a first line of more than {HEAD_BYTES} bytes, not a known format"
    return "not a known format"


def _is_pickle(head: bytes) -> bool:
    """Whether it is a pickle of protocol 2 to 5, or a zip that holds one, as torch saves rollouts."""
    torch = head.startswith(_ZIP) and _TORCH_MEMBER in head[:_TORCH_SEARCH]
    return torch or (head[:1] == _PICKLE and head[1:2] in _PROTOCOLS)


def _is_binary(head: bytes) -> bool:
    """Whether the head is not UTF-8; its last character may be cut."""
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start < len(head) - 8
    return False
