from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ccm_pack.training.cache import TensorCache, hash_file, key_of

KEY = key_of("a test")
TENSORS = {
    "half": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "one": torch.tensor(4.5),
    "none": torch.empty(0, 3, dtype=torch.long),
}


class Maker:
    """Computes an entry, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        return TENSORS


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path)


@pytest.fixture
def maker() -> Maker:
    return Maker()


def the_file(cache: TensorCache) -> Path:
    (path,) = cache.folder.rglob("*.safetensors")
    return path


def assert_same(got: dict[str, torch.Tensor]) -> None:
    assert got.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert got[name].dtype == tensor.dtype and torch.equal(got[name], tensor)


def test_an_entry_is_computed_once_and_read_back_whole(cache: TensorCache, maker: Maker):
    assert_same(cache.get(KEY, maker))
    assert_same(TensorCache(cache.folder).get(KEY, maker))
    assert maker.calls == 1


def test_a_key_depends_on_every_input_and_on_where_one_ends():
    keys = [
        key_of("ab", "c"),
        key_of("a", "bc"),
        key_of("ab", "c", None),
        key_of("ab", "C"),
        key_of(1),
        key_of("1"),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.95])
def test_an_entry_cut_short_is_computed_again(cache: TensorCache, maker: Maker, kept: float):
    cache.get(KEY, maker)
    data = the_file(cache).read_bytes()
    the_file(cache).write_bytes(data[: int(kept * len(data))])
    assert_same(cache.get(KEY, maker))
    assert_same(cache.get(KEY, maker))
    assert maker.calls == 2


def test_an_entry_with_one_bit_flipped_is_computed_again(cache: TensorCache, maker: Maker):
    cache.get(KEY, maker)
    data = bytearray(the_file(cache).read_bytes())
    data[-1] ^= 1
    the_file(cache).write_bytes(data)
    assert_same(cache.get(KEY, maker))
    assert maker.calls == 2


def test_a_computation_that_is_interrupted_leaves_nothing(cache: TensorCache, maker: Maker):
    def interrupted() -> dict[str, torch.Tensor]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get(KEY, interrupted)
    assert not list(cache.folder.rglob("*.*"))
    assert_same(cache.get(KEY, maker))


def test_ensure_computes_only_what_is_not_there(cache: TensorCache, maker: Maker):
    cache.ensure(KEY, maker)
    cache.ensure(KEY, maker)
    assert maker.calls == 1


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert hash_file(tmp_path / "abc") == expected
