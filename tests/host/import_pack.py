"""Import the pack as ComfyUI does, in a process of its own: `import_pack.py COMFYUI PACK [hidden ...]`.

Prints the seconds it took beyond the host's own imports and the ids of the nodes, as JSON on the last line;
whatever the pack itself prints comes before.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import sys
import time

comfy, pack, *hidden = sys.argv[1:]
sys.argv[1:] = []
sys.path[0] = comfy
for name in hidden:
    sys.modules[name] = None  # type: ignore[assignment]

importlib.import_module("comfy.cli_args").args.cpu = True
for name in ("comfy_api.latest", "nodes"):
    importlib.import_module(name)
print("host imported", flush=True)
began = time.perf_counter()
spec = importlib.util.spec_from_file_location(pack, f"{pack}/__init__.py", submodule_search_locations=[pack])
assert spec is not None and spec.loader is not None
module = importlib.util.module_from_spec(spec)
sys.modules[pack] = module
spec.loader.exec_module(module)
extension = asyncio.run(module.comfy_entrypoint())
ids = [node.GET_SCHEMA().node_id for node in asyncio.run(extension.get_node_list())]
print(json.dumps({"seconds": time.perf_counter() - began, "nodes": ids}))
