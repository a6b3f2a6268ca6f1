"""Compressed records: every text comes back as it was, and damage is an error that says so."""

from __future__ import annotations

import base64
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from relay_models.documents import compression
from relay_models.documents.compression import (
    MAX_RECORD,
    Dictionary,
    PackedTextError,
    Packer,
    UnknownDictionaryError,
    check_compression,
    dictionary_of,
    is_packed,
    train_dictionary,
    unpack,
)
from relay_models.errors import InvalidConfigurationError, MissingExtraError
from relay_models.records import to_json
from tests.backend.stores import make_run

TEXTS = [to_json(make_run(f"agent {number % 7}", number)) for number in range(200)]
DICTIONARY = train_dictionary(TEXTS, 4096)
PACKERS = (Packer(), Packer(DICTIONARY))
JSON_TEXTS = st.one_of(
    st.sampled_from(TEXTS),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=30).map(lambda text: f'{{"a":"{text}"}}'.encode()),
    st.lists(st.sampled_from(TEXTS), min_size=1, max_size=30).map(b",".join),
)


def read(packed: bytes) -> bytes:
    """A text as a store with the dictionary reads it."""
    if not is_packed(packed):
        return packed
    return unpack(packed, {"": None, DICTIONARY.id: DICTIONARY}[dictionary_of(packed)])


@pytest.mark.parametrize("packer", PACKERS, ids=["alone", "dictionary"])
@given(text=JSON_TEXTS)
def test_any_text_comes_back_bit_for_bit(packer: Packer, text: bytes) -> None:
    packed = packer.pack(text).encode()
    assert len(packed) <= len(text)
    assert read(packed) == text


@settings(max_examples=300)
@given(
    text=st.sampled_from(TEXTS),
    packer=st.sampled_from(PACKERS),
    place=st.floats(0, 1, exclude_max=True),
    change=st.integers(1, 255),
    cut=st.booleans(),
)
def test_a_damaged_text_is_an_error_or_means_the_same(
    text: bytes, packer: Packer, place: float, change: int, cut: bool
) -> None:
    packed = bytearray(packer.pack(text).encode())
    at = int(place * len(packed))
    if cut:
        del packed[at:]
    else:
        packed[at] ^= change
    damaged = bytes(packed)
    if not is_packed(damaged):
        return  # then it is no JSON either, which its reader says
    try:
        name = dictionary_of(damaged)
        found = unpack(damaged, {"": None, DICTIONARY.id: DICTIONARY}[name])
    except PackedTextError:
        return
    except KeyError:
        return  # another dictionary's name
    assert found == text


def test_a_text_says_which_dictionary_it_needs() -> None:
    assert dictionary_of(PACKERS[0].pack(TEXTS[0]).encode()) == ""
    assert dictionary_of(PACKERS[1].pack(TEXTS[0]).encode()) == DICTIONARY.id
    assert Dictionary(DICTIONARY.content).id == DICTIONARY.id
    for text in (b"zstd:", b"zstd:12", b"zstd:123456789012", b"zstd:1234567890123:", b"zstd:12345678901G:"):
        with pytest.raises(PackedTextError, match="dictionary"):
            dictionary_of(text)


def test_the_wrong_dictionary_reads_nothing() -> None:
    packed = PACKERS[1].pack(TEXTS[0]).encode()
    other = train_dictionary(TEXTS[:100], 2048)
    assert other.id != DICTIONARY.id
    for wrong in (None, other):
        with pytest.raises(PackedTextError, match="damaged"):
            unpack(packed, wrong)


def bomb(size: int, *, claims: bool) -> bytes:
    """A short text that becomes a long one; it says so, or not."""
    zstd = compression.zstd()
    maker = zstd.ZstdCompressor()
    if claims:
        maker.set_pledged_input_size(size)
    frame = maker.compress(bytes(size), maker.FLUSH_FRAME if claims else maker.CONTINUE)
    frame += b"" if claims else maker.flush()
    return b"zstd::" + base64.b64encode(frame)


def test_a_short_text_does_not_become_an_endless_one() -> None:
    assert len(unpack(bomb(1000, claims=True), None)) == 1000
    for text in (bomb(MAX_RECORD + 1, claims=True), bomb(1000, claims=False)):
        assert len(text) < 20_000
        with pytest.raises(PackedTextError, match="becomes"):
            unpack(text, None)


def test_a_longer_text_stays_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "MAX_RECORD", 1000)
    text = b"[" + b"0," * 600 + b"0]"
    assert PACKERS[0].pack(text) == text.decode()


def test_threads_share_a_packer() -> None:
    with ThreadPoolExecutor(8) as threads:
        packed = list(threads.map(PACKERS[1].pack, TEXTS * 5))
    assert [read(text.encode()) for text in packed] == TEXTS * 5


def test_too_few_runs_make_no_dictionary() -> None:
    with pytest.raises(InvalidConfigurationError, match="store more runs first"):
        train_dictionary(TEXTS[:1], 4096)


def test_what_is_no_dictionary_is_refused() -> None:
    with pytest.raises(PackedTextError, match="no zstd dictionary"):
        Dictionary(b"something else, and long enough")
    assert "restore the key" in str(UnknownDictionaryError("0123456789ab"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("backports.zstd", "compression", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    if "backports" in sys.modules:
        monkeypatch.delattr("backports.zstd", raising=False)
    compression.zstd.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"pip install 'relay-models\[zstd\]'"):
            check_compression("zstd")
        check_compression(None)
    finally:
        compression.zstd.cache_clear()


@pytest.mark.parametrize("unknown", ["lz4", "", True, 3])
def test_other_ways_are_refused(unknown: Any) -> None:
    with pytest.raises(InvalidConfigurationError, match="compression is 'zstd'"):
        check_compression(unknown)
