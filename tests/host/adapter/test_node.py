"""How CCM_LoadAdapter shares a model with others, and what it refuses."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, save_adapter
from ccm_pack.ccm.errors import AdapterError, AdapterMismatchError

pytestmark = pytest.mark.usefixtures("executor")

QKV = "joint_blocks.0.x_block.attn.qkv"


def test_the_incoming_model_stays_as_it_is(lab: Any, files: dict):
    model = lab.stock(lab.load(), files["lora"])
    before = {key: list(patches) for key, patches in model.patches.items()}
    lab.ours(model, files["corrected"])
    assert model.patches == before


def test_an_adapter_loaded_while_the_model_is_patched_starts_from_the_base(
    lab: Any, dora: Any, lora: Any, files: dict
):
    model = lab.load()
    with_lora = lab.stock(model, files["lora"], 3.0)
    lab.put_on(with_lora)
    adapted = lab.ours(model, files["corrected"])
    for _ in range(2):  # there and back again
        weights = lab.put_on(adapted)
        lab.assert_changed_by(weights, dora.base, lambda n: lab.change(dora.base[n], dora.layers[n]))
        weights = lab.put_on(with_lora)
        lab.assert_changed_by(weights, lora.base, lambda n: 3 * lab.change(lora.base[n], lora.layers[n]))


def test_a_patch_rebuilt_from_plain_tuples_is_the_same(dora: Any):
    """Newer hosts rebuild an adapter so, with its tensors moved to another device."""
    patch = importlib.import_module("ccm_pack.nodes.exact_adapter").ExactAdapter
    first = patch(set(), ((0.5, dora.layers[QKV]),))
    second = type(first)(first.loaded_keys, ((0.5, tuple(dora.layers[QKV])),))
    results = [p.calculate_weight(dora.base[QKV].clone(), QKV, 1.0, 1.0, None, None) for p in (first, second)]
    assert torch.equal(*results)


def test_a_corrected_file_is_refused_on_another_base(lab: Any, files: dict):
    with pytest.raises(AdapterMismatchError, match="another base"):
        lab.ours(lab.load(state=lab.state(seed=9)), files["corrected"])


def test_the_base_is_recognised_while_it_is_patched(lab: Any, files: dict):
    model = lab.load()
    lab.put_on(lab.stock(model, files["lora"], 5.0))
    assert "base: the one it was trained on" in lab.node.execute(model, files["corrected"], 1.0).result[1]


def test_layers_of_another_model_are_refused(lab: Any):
    layer = {"no.such.layer": AdapterLayer(torch.ones(1, 2), torch.ones(2, 1), 1.0)}
    save_adapter(lab.loras / "other.safetensors", layer, {"no.such.layer": torch.ones(2, 2)})
    with pytest.raises(AdapterMismatchError, match=r"not in this model \(no.such.layer\)"):
        lab.ours(lab.load(), "other.safetensors")


def test_a_missing_file_is_named_with_the_folders_searched(lab: Any):
    with pytest.raises(AdapterError, match=f"'nowhere.safetensors' in .*{lab.loras}"):
        lab.ours(lab.load(), "nowhere.safetensors")


def test_an_adapter_name_linked_from_another_node_is_not_checked_beforehand(lab: Any):
    assert lab.node.validate_inputs(None) is True


def test_a_strength_that_is_no_number_is_refused(lab: Any, files: dict):
    with pytest.raises(AdapterError, match="strength"):
        lab.ours(lab.load(), files["corrected"], float("nan"))


def test_the_fingerprint_changes_with_the_file(lab: Any, lora: Any):
    path = lab.loras / "changing.safetensors"
    save_adapter(path, lora.layers, lora.base)
    first = lab.node.fingerprint_inputs(adapter=path.name, strength=1.0)
    assert lab.node.fingerprint_inputs(adapter=path.name, strength=1.0) == first
    save_adapter(path, lora.layers, lora.base, training={"steps": 1})
    assert lab.node.fingerprint_inputs(adapter=path.name, strength=1.0) != first
