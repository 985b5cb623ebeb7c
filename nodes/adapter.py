"""CCM_LoadAdapter: a WDLoRA adapter onto a model, exactly."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..ccm.adapter import read_adapter
from ..ccm.adapter.fit import check_strength
from ..ccm.adapter.summary import describe
from ..ccm.errors import AdapterError
from .exact_adapter import add_adapter, check
from .newer_hosts import search_aliases

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
EMBEDDED = {
    "embedded: wdlora": WEIGHTS / "ccm_nano_wdlora.safetensors",
    "embedded: lora": WEIGHTS / "ccm_nano_lora.safetensors",
}


def adapter_path(name: str) -> Path:
    """Return the file of an adapter in the list; the AdapterError names the folders searched."""
    found = EMBEDDED.get(str(name)) or folder_paths.get_full_path("loras", str(name))
    if found is None or not Path(found).is_file():
        folders = [WEIGHTS] if name in EMBEDDED else folder_paths.get_folder_paths("loras")
        raise AdapterError(
            f"There is no adapter {name!r} in {', '.join(map(str, folders))}",
            fix="put the file there and refresh the page, or choose one that is in the list",
        )
    return Path(found)


class LoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_LoadAdapter",
            display_name="Load CCM Adapter",
            category="CCM/generate",
            description=(
                "Applies a WDLoRA (DoRA) or LoRA adapter with the exact formula, on any base and beside any "
                "other LoRA, and refuses files that do not belong to the model."
            ),
            **search_aliases("DoRA", "WDLoRA", "LoRA"),
            inputs=[
                io.Model.Input("model", tooltip="The base model that the adapter was trained on."),
                io.Combo.Input(
                    "adapter",
                    options=[*EMBEDDED, *folder_paths.get_filename_list("loras")],
                    tooltip="A file of models/loras, or an embedded adapter for the CCM-nano base.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.01,
                    tooltip="k in W0 + k (W' - W0): 0 is the base, 1 the adapter as trained.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the adapter."),
                io.String.Output(display_name="info", tooltip="What the adapter is and how it was trained."),
            ],
        )

    @classmethod
    def validate_inputs(cls, adapter: str | None) -> bool | str:
        if adapter is None:  # linked from another node, so not known yet
            return True
        try:
            return adapter_path(adapter).is_file()
        except AdapterError as error:
            return str(error)

    @classmethod
    def fingerprint_inputs(cls, adapter: str, **_: object) -> str:
        stat = adapter_path(adapter).stat()
        return f"{stat.st_mtime_ns} {stat.st_size}"

    @classmethod
    def execute(cls, model, adapter: str, strength: float) -> io.NodeOutput:
        file = read_adapter(adapter_path(adapter))
        check_strength(strength)
        base = check(model, file)
        return io.NodeOutput(add_adapter(model, file, strength), describe(file, adapter, base))
