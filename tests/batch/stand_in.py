"""A stand-in for ComfyUI: its routes and the way it keeps queue, history and files, with a picture in place of a model.

`python stand_in.py --port N [--seconds S] [--fault KIND] [--size PX]` serves 127.0.0.1. A picture depends on the inputs
of the graph alone, as a model's does. Faults: 500, hang, garbage, foreign, foreign-picture, cut, refuse, half, fail,
lost-picture, interrupted; `--faulty N` lets only the first N prompts suffer it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import random
import time
from typing import Any

from aiohttp import WSMsgType, web
from PIL import Image
from PIL.PngImagePlugin import PngInfo


class StandIn:
    """The state of one server; it dies with the process."""

    def __init__(self, seconds: float, fault: str, faulty: int, size: int) -> None:
        self.seconds, self.fault, self.faulty, self.size = seconds, fault, faulty, size
        self.pending: list[list[Any]] = []
        self.running: list[list[Any]] = []
        self.history: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.uploaded: set[str] = set()
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.work = asyncio.Event()
        self.served = 0
        self.posted: list[str] = []

    def suffers(self, fault: str) -> bool:
        return self.fault == fault and self.served < self.faulty

    async def prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.posted.append(body["prompt_id"])
        for node, data in body["prompt"].items():
            if data["class_type"] == "LoadImageMask" and data["inputs"]["image"] not in self.uploaded:
                return self._refused(node, data, f"Invalid image file: {data['inputs']['image']}")
            if self.fault == "refuse":
                return self._refused(node, data, "this one never fits")
        number = len(self.posted)
        self.pending.append([number, body["prompt_id"], body["prompt"], {"client_id": body["client_id"]}, []])
        self.work.set()
        wrong: dict[str, Any] = {}
        if self.suffers("half"):  # queued, although an output that is not the frame cannot be made
            self.served += 1
            wrong = _wrong("12", "SaveImage", "this one is left out")
        return web.json_response({"prompt_id": body["prompt_id"], "number": number, "node_errors": wrong})

    def _refused(self, node: str, data: dict[str, Any], details: str) -> web.Response:
        errors = _wrong(node, data["class_type"], details)
        told = {"error": {"message": "Prompt outputs failed validation"}, "node_errors": errors}
        return web.json_response(told, status=400)

    async def drop(self, request: web.Request) -> web.Response:
        dropped = (await request.json())["delete"]
        self.pending = [entry for entry in self.pending if entry[1] not in dropped]
        return web.Response()

    async def queue(self, request: web.Request) -> web.Response:
        return web.json_response({"queue_running": self.running, "queue_pending": self.pending})

    async def one_history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = self.history.get(prompt_id)
        return web.json_response({prompt_id: entry} if entry else {})

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file, kind, subfolder = form["image"], form.get("type", "input"), form.get("subfolder", "")
        self.uploaded.add(f"{subfolder}/{file.filename} [{kind}]")
        return web.json_response({"name": file.filename, "subfolder": subfolder, "type": kind})

    async def view(self, request: web.Request) -> web.Response:
        content = self.files.get(request.query["filename"])
        if content is None or self.suffers("lost-picture"):
            self.served += content is not None
            return web.Response(status=404)
        if self.suffers("cut"):
            self.served += 1
            content = content[: len(content) // 2]
        return web.Response(body=content, content_type="image/png")

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[request.query.get("clientId", "")] = socket
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                break
        return socket

    async def serve(self) -> None:
        """Run one prompt after the other, as ComfyUI does."""
        while True:
            while not self.pending:
                self.work.clear()
                await self.work.wait()
            entry = self.pending.pop(0)
            self.running.append(entry)
            began = time.time()
            if self.seconds:
                await asyncio.sleep(self.seconds * random.uniform(0.5, 1.5))
            self.history[entry[1]] = self._entry(entry, began)
            self.running.remove(entry)
            await self._tell(entry)

    def _entry(self, entry: list[Any], began: float) -> dict[str, Any]:
        _, prompt_id, graph, extra, _ = entry
        messages = [["execution_start", {"prompt_id": prompt_id, "timestamp": int(began * 1000)}]]
        outputs: dict[str, Any] = {}
        node = next(n for n, data in graph.items() if data["class_type"] in ("PreviewImage", "SaveImage"))
        if self.suffers("fail") or self.suffers("interrupted"):
            self.served += 1
            told = {"node_id": node, "node_type": "KSampler", "exception_message": "out of memory"}
            kind = "execution_error" if self.fault == "fail" else "execution_interrupted"
            messages.append([kind, told])
        else:
            name = f"ComfyUI_temp_{prompt_id[:8]}_00001_.png"
            made_by = graph
            if self.suffers("foreign-picture"):
                self.served += 1
                made_by = {**graph, "99": {"class_type": "EmptyImage", "inputs": {}}}
            self.files[name] = picture(made_by, self.size)
            outputs = {node: {"images": [{"filename": name, "subfolder": "", "type": "temp"}]}}
            messages.append(["execution_success", {"timestamp": int(time.time() * 1000)}])
            if self.suffers("foreign"):
                self.served += 1
                graph = {**graph, "99": {"class_type": "EmptyImage", "inputs": {}}}
        status = {"status_str": "success", "completed": True, "messages": messages}
        return {"prompt": [0, prompt_id, graph, extra, []], "outputs": outputs, "status": status}

    async def _tell(self, entry: list[Any]) -> None:
        socket = self.sockets.get(entry[3]["client_id"])
        if socket is not None and not socket.closed:
            data = {"type": "execution_success", "data": {"prompt_id": entry[1]}}
            await socket.send_str(json.dumps(data))

    @web.middleware
    async def trouble(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """What a broken server says, whatever it is asked."""
        if self.fault == "500" and request.path == "/prompt" and self.served < self.faulty:
            self.served += 1
            return web.Response(status=500, text="Internal Server Error")
        if self.fault == "hang" and request.path.startswith("/prompt"):
            await asyncio.sleep(3600)
        if self.fault == "garbage" and request.path.startswith(("/queue", "/history")):
            return web.Response(text="<html>a router's login page</html>")
        return await handler(request)


def _wrong(node: str, kind: str, details: str) -> dict[str, Any]:
    """What ComfyUI says of a node that it refuses."""
    error = {"type": "invalid", "message": "Value not in list", "details": details, "extra_info": {}}
    return {node: {"errors": [error], "class_type": kind, "dependent_outputs": []}}


def picture(graph: dict[str, Any], size: int) -> bytes:
    """A PNG of noise that depends on the graph's inputs, with the graph inside, as SaveImage writes it."""
    fixed = {node: (data["class_type"], data["inputs"]) for node, data in graph.items()}
    rng = random.Random(hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).digest())
    info = PngInfo()
    info.add_text("prompt", json.dumps(graph))
    content = io.BytesIO()
    Image.frombytes("L", (size, size), rng.randbytes(size * size)).convert("RGB").save(
        content, "PNG", pnginfo=info
    )
    return content.getvalue()


def object_info() -> dict[str, Any]:
    """The nodes of workflows/api/batch.json."""
    names = ("CCM_LoadNano", "CCM_ApplyNerveMaskControl", "EmptySD3LatentImage", "VAEDecode", "PreviewImage")
    known: dict[str, Any] = {name: {"input": {"required": {}}} for name in names}
    known["CCM_DPNPrompt"] = {"input": {"required": {"cohort": [["Control", "T1NoDPN", "T1DPN"]]}}}
    known["LoadImageMask"] = {
        "input": {"required": {"image": [[], {"image_upload": True}], "channel": [["red"]]}}
    }
    known["CCM_LoadAdapter"] = {
        "input": {"required": {"adapter": ["COMBO", {"options": ["embedded: wdlora"]}]}}
    }
    known["KSampler"] = {"input": {"required": {"seed": ["INT", {}], "sampler_name": [["dpmpp_2m"]]}}}
    return known


async def main(options: argparse.Namespace) -> None:
    server = StandIn(options.seconds, options.fault, options.faulty, options.size)
    app = web.Application(middlewares=[server.trouble], client_max_size=2**26)

    async def info(request: web.Request) -> web.Response:
        return web.json_response(object_info())

    async def stats(request: web.Request) -> web.Response:
        return web.json_response(
            {"system": {}, "posted": len(server.posted), "unique": len(set(server.posted))}
        )

    async def nothing(request: web.Request) -> web.Response:
        return web.Response()

    app.add_routes(
        [
            web.get("/system_stats", stats),
            web.get("/object_info", info),
            web.get("/queue", server.queue),
            web.get("/history/{prompt_id}", server.one_history),
            web.get("/view", server.view),
            web.get("/ws", server.socket),
            web.post("/prompt", server.prompt),
            web.post("/upload/image", server.upload),
            web.post("/queue", server.drop),
            web.post("/interrupt", nothing),
            web.post("/free", nothing),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port, reuse_address=True).start()
    print("ready", flush=True)
    await server.serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--fault", default="")
    parser.add_argument("--faulty", type=int, default=10**9)
    parser.add_argument("--size", type=int, default=64)
    asyncio.run(main(parser.parse_known_args()[0]))  # of ComfyUI's own options, only the port counts
