"""One ComfyUI as the batch sees it: every wait is bounded, every answer is checked, the history is the truth.

The websocket only wakes whoever waits, and shows that the server lives; without it everything works, a little slower.
A prompt's id is chosen by the client, so that a client that starts again finds what an earlier one asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..ccm.errors import GraphError, HostError, ImageError
from .client import Graph

if TYPE_CHECKING:
    from aiohttp import ClientSession

POLL_SECONDS = 2.0  # between looks into the history, where the websocket says nothing
HASHING_SECONDS = 1800.0
MOST_BYTES = 256 * 2**20  # of one answer
WRITTEN_SECONDS = 0.02  # the history is written a moment after the server tells that a prompt is over
FOLDER = "ccm_batch"  # of uploaded masks, inside the server's temporary folder


class ServerFault(HostError):
    """A server that is gone, silent, or answers nonsense: the item is not to blame."""


class UselessResult(ServerFault):
    """A prompt that is over and of no use: another client's, interrupted, damaged; it needs a new id."""


class ItemFault(GraphError):
    """A graph that the server refused or could not run: the server is not to blame."""


class Connection:
    """A connection to the ComfyUI at `address`; made by `connect`."""

    def __init__(self, address: str, session: ClientSession, answer_s: float, stall_s: float) -> None:
        self.address = address.rstrip("/")
        self._session = session
        self._answer_s = answer_s
        self._stall_s = stall_s
        self._client_id = uuid.uuid4().hex
        self._waiting: dict[str, asyncio.Event] = {}
        self._sign = time.monotonic()  # when the server last showed that it works

    async def object_info(self) -> dict[str, Any]:
        """Return every node that the server knows."""
        return await self._json("GET", "/object_info")

    async def stats(self) -> dict[str, Any]:
        """Return what the server is; the cheapest question whether it is there."""
        return await self._json("GET", "/system_stats")

    async def provenance(self, names: list[str]) -> dict[str, Any]:
        """Return versions and hashes of the model files of these names; nothing where the server lacks the pack."""
        asked = [("name", name) for name in names]
        try:
            return await self._json("GET", "/ccm/provenance", params=asked, timeout=_hashing())
        except ItemFault:
            return {}

    async def upload(self, content: bytes, digest: str) -> str:
        """Put a mask into the server's temporary folder and return the name that the graph takes."""
        import aiohttp

        name = f"{digest[:32]}.png"
        form = aiohttp.FormData({"type": "temp", "subfolder": FOLDER, "overwrite": "true"})
        form.add_field("image", content, filename=name, content_type="image/png")
        told = await self._json("POST", "/upload/image", data=form)
        if told.get("name") != name:
            raise ServerFault(f"{self.address} took a mask and called it {told!r}", fix="look at its log")
        return f"{FOLDER}/{name} [temp]"

    async def run(self, graph: Graph, prompt_id: str, output: str) -> tuple[bytes, float]:
        """Return the picture that the node `output` saved and the seconds that the server worked on it.

        A prompt of that id that is there already is not queued again. Raises ItemFault and ServerFault.
        """
        queued = await self._queued(prompt_id)  # first: what leaves the queue is in the history by then
        entry = await self._history(prompt_id)
        if entry is None:
            if not queued:
                await self._submit(graph, prompt_id)
            entry = await self._wait(prompt_id)
        file, seconds = _outcome(entry, graph, output, self.address)
        content = await self._fetch(file)
        check_picture(content, graph, self.address)
        return content, seconds

    async def listen(self) -> None:
        """Follow the websocket until cancelled, connecting again whenever it breaks."""
        import aiohttp

        url = f"{self.address}/ws?clientId={self._client_id}"
        while True:
            try:
                async with self._session.ws_connect(url, heartbeat=self._answer_s, max_msg_size=0) as socket:
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            self._hear(message.data)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                pass  # whoever waits finds out by the history
            await asyncio.sleep(min(POLL_SECONDS, self._answer_s))

    def _hear(self, text: str) -> None:
        self._sign = time.monotonic()
        try:
            event = json.loads(text)
            ended = event["type"] in ("execution_success", "execution_error", "execution_interrupted")
            waiting = self._waiting.get(event["data"]["prompt_id"]) if ended else None
        except (ValueError, KeyError, TypeError):
            return
        if waiting:
            waiting.set()

    async def _submit(self, graph: Graph, prompt_id: str) -> None:
        body = {"prompt": graph, "client_id": self._client_id, "prompt_id": prompt_id}
        told = await self._json("POST", "/prompt", json=body)
        if told.get("prompt_id") != prompt_id:
            raise self._nonsense("/prompt", told)
        if told.get("node_errors"):  # ComfyUI runs the outputs that are valid; half a graph serves nobody
            await self._bytes("POST", "/queue", json={"delete": [prompt_id]})
            await self._bytes("POST", "/interrupt", json={"prompt_id": prompt_id})
            raise _refusal(json.dumps(told).encode(), "/prompt", 200)

    async def _wait(self, prompt_id: str) -> dict[str, Any]:
        """Wait until a queued prompt is in the history; raises ServerFault where it got lost or nothing moves."""
        ended = self._waiting[prompt_id] = asyncio.Event()
        self._sign = time.monotonic()
        try:
            while True:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(ended.wait(), POLL_SECONDS)
                if ended.is_set():
                    ended.clear()
                    await asyncio.sleep(WRITTEN_SECONDS)
                    if (entry := await self._history(prompt_id)) is not None:
                        return entry
                queued = await self._queued(prompt_id)
                if (entry := await self._history(prompt_id)) is not None:
                    return entry
                if not queued:
                    raise ServerFault(f"{self.address} has lost a prompt", fix="nothing: it is queued again")
                if time.monotonic() - self._sign > self._stall_s:
                    raise ServerFault(
                        f"{self.address} has said nothing for {self._stall_s:g} s", fix="look at its log"
                    )
        finally:
            self._waiting.pop(prompt_id, None)

    async def _queued(self, prompt_id: str) -> bool:
        queue = await self._json("GET", "/queue")
        try:
            return any(entry[1] == prompt_id for kind in queue.values() for entry in kind)
        except (AttributeError, TypeError, IndexError, KeyError) as error:
            raise self._nonsense("/queue", queue) from error

    async def _history(self, prompt_id: str) -> dict[str, Any] | None:
        entry = (await self._json("GET", f"/history/{prompt_id}")).get(prompt_id)
        if entry is not None:
            self._sign = time.monotonic()
        return entry

    async def _fetch(self, file: dict[str, str]) -> bytes:
        asked = {name: str(file.get(name, "")) for name in ("filename", "subfolder", "type")}
        try:
            return await self._bytes("GET", "/view", params=asked)
        except ItemFault as error:  # forget the cached node, or the same name without a file comes again
            await self._bytes("POST", "/free", json={"free_memory": True})
            raise UselessResult(
                f"{self.address} has lost a picture ({error.problem})", fix="nothing: it is made again"
            ) from error

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        content = await self._bytes(method, path, **options)
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise self._nonsense(path, content[:80]) from error
        if not isinstance(answer, dict):
            raise self._nonsense(path, answer)
        return answer

    async def _bytes(self, method: str, path: str, **options: Any) -> bytes:
        import aiohttp

        try:
            async with self._session.request(method, self.address + path, **options) as response:
                content = b""
                while piece := await response.content.read(2**20):
                    content += piece
                    if len(content) > MOST_BYTES:
                        raise self._nonsense(path, f"more than {MOST_BYTES} bytes")
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise ServerFault(
                f"{self.address} does not answer {path} ({type(error).__name__})",
                fix="start it, or look at its log",
            ) from error
        if response.status == 200:
            return content
        if 400 <= response.status < 500:
            raise _refusal(content, path, response.status)
        raise ServerFault(
            f"{self.address} answered {path} with status {response.status}: {content[:200]!r}",
            fix="look at its log",
        )

    def _nonsense(self, path: str, got: Any) -> ServerFault:
        return ServerFault(
            f"{self.address} answered {path} with {str(got)[:120]!r}, which is not what a ComfyUI says",
            fix="check the address",
        )


@asynccontextmanager
async def connect(address: str, answer_s: float, stall_s: float) -> AsyncIterator[Connection]:
    """Connect to a ComfyUI and listen to it while the block lasts; it need not be there yet."""
    import aiohttp

    limits = aiohttp.ClientTimeout(total=10 * answer_s, sock_connect=min(10.0, answer_s), sock_read=answer_s)
    async with aiohttp.ClientSession(timeout=limits) as session:
        connection = Connection(address, session, answer_s, stall_s)
        listening = asyncio.create_task(connection.listen())
        try:
            yield connection
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def _hashing() -> Any:
    """Time for a server to read all its model files once."""
    import aiohttp

    return aiohttp.ClientTimeout(total=HASHING_SECONDS)


def check_picture(content: bytes, graph: Graph, address: str) -> None:
    """Raise UselessResult unless this is a whole PNG, and made by this graph where it says by which."""
    from ..ccm.dataset.marks import decode, read_texts

    try:
        decode(content)
        made_by = json.loads(read_texts(content).get("prompt", "null"))
    except (ImageError, ValueError) as error:
        raise UselessResult(f"{address} gave no picture: {error}", fix="look at its log") from error
    if made_by is not None and not same_graph(made_by, graph):
        raise UselessResult(
            f"{address} gave a picture that another graph made", fix="see who else uses that server"
        )


def same_graph(a: Any, b: Graph) -> bool:
    """Whether two graphs compute the same; ComfyUI adds notes of its own to the nodes."""
    try:
        return {n: (d["class_type"], d["inputs"]) for n, d in a.items()} == {
            n: (d["class_type"], d["inputs"]) for n, d in b.items()
        }
    except (AttributeError, KeyError, TypeError):
        return False


def _outcome(entry: Any, graph: Graph, output: str, address: str) -> tuple[dict[str, str], float]:
    """The file of the output node and the seconds of an entry of the history; raises ItemFault and ServerFault."""
    try:
        told = dict(entry["status"]["messages"])
        if not same_graph(entry["prompt"][2], graph):
            raise UselessResult(
                f"{address} ran another graph under our id", fix="see who else uses that server"
            )
        for kind in ("execution_error", "execution_interrupted"):
            if kind in told:
                raise _failure(kind, told[kind])
        seconds = (told["execution_success"]["timestamp"] - told["execution_start"]["timestamp"]) / 1000
        images = entry["outputs"].get(output, {}).get("images", [])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UselessResult(
            f"{address} has a history that is none ({error!r})", fix="look at its log"
        ) from error
    if len(images) != 1:
        raise ItemFault(
            f"The node {output} gave {len(images)} pictures",
            fix="let the slot frame lead to a node that saves one",
        )
    return images[0], seconds


def _failure(kind: str, told: dict[str, Any]) -> Exception:
    node = f"{told['node_id']} ({told['node_type']})"
    if kind == "execution_interrupted":
        return UselessResult(f"Somebody stopped the run at node {node}", fix="nothing: it is queued again")
    problem, _, fix = str(told["exception_message"]).strip().partition(". Fix: ")
    return ItemFault(f"Node {node} failed: {problem}", fix=fix or "look at ComfyUI's log")


def _refusal(said: bytes, path: str, status: int) -> ItemFault:
    try:
        answer = json.loads(said)
        errors = [
            f"node {node} ({wrong['class_type']}): {error['message']}: {error['details']}"
            for node, wrong in (answer.get("node_errors") or {}).items()
            for error in wrong["errors"]
        ]
        told = answer["error"]["message"] if status >= 400 else "not all of its outputs can be made"
        problem = "; ".join([told, *errors])
    except (ValueError, KeyError, TypeError, AttributeError):
        problem = f"status {status}: {said[:200]!r}"
    return ItemFault(f"ComfyUI refused {path}: {problem}", fix="correct these inputs")
