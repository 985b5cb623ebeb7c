"""A client of ComfyUI's API: the transport, with plain calls that return when the work is done.

aiohttp does the talking inside a private event loop, so that the caller needs to know nothing of it.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ..ccm.errors import GraphError, HostError

if TYPE_CHECKING:
    from aiohttp import ClientSession, ClientWebSocketResponse

Graph = dict[str, dict[str, Any]]  # node id -> {"class_type": ..., "inputs": {...}}
T = TypeVar("T")
SILENCE_SECONDS = 10  # after so long without a message the history is asked whether it is over


class RefusedError(GraphError):
    """A graph that ComfyUI did not even queue; `node_errors` is what it said about each node."""

    def __init__(self, problem: str, *, fix: str, node_errors: dict[str, Any]) -> None:
        super().__init__(problem, fix=fix)
        self.node_errors = node_errors


class ExecutionError(GraphError):
    """A graph that failed while it ran; `node` is the id of the node that raised."""

    def __init__(self, problem: str, *, fix: str, node: str) -> None:
        super().__init__(problem, fix=fix)
        self.node = node


class InterruptedRun(GraphError):
    """A graph that somebody stopped."""


@dataclass(frozen=True)
class Progress:
    """How far the running node is: `value` of `maximum` steps."""

    node: str
    class_type: str
    value: int
    maximum: int


@dataclass(frozen=True)
class File:
    """A file on the server, as ComfyUI names it."""

    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class Outputs:
    """What the output nodes of one run gave: node id -> kind, for example "images" or "text" -> values.

    `seconds` is how long the server worked on it, without the time in the queue.
    """

    prompt_id: str
    nodes: dict[str, dict[str, list[Any]]]
    seconds: float

    def files(self, node: str, kind: str = "images") -> list[File]:
        """Return the files that a node saved."""
        return [File(f["filename"], f["subfolder"], f["type"]) for f in self._get(node, kind)]

    def text(self, node: str) -> str:
        """Return the text that a node showed."""
        return "\n".join(str(value) for value in self._get(node, "text"))

    def _get(self, node: str, kind: str) -> list[Any]:
        try:
            return self.nodes[node][kind]
        except KeyError:
            raise GraphError(
                f"Node {node} gave no {kind}", fix="make it an output node that saves or shows something"
            ) from None


class Client:
    """A connection to one ComfyUI; use it in a `with` block."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.client_id = uuid.uuid4().hex
        self._loop = asyncio.new_event_loop()
        self._session: ClientSession | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._loop.run_until_complete(self._session.close())
        self._loop.close()

    def run(self, graph: Graph, on_progress: Callable[[Progress], None] = lambda _: None) -> Outputs:
        """Queue a graph, wait until it is done and return its outputs.

        Raises RefusedError, ExecutionError or InterruptedRun, and HostError where the server is gone.
        """
        return self._call(self._run(graph, on_progress))

    def queue(self, graph: Graph) -> str:
        """Queue a graph and return its prompt id; raises RefusedError where ComfyUI finds it invalid."""
        return self._call(self._queue(graph))

    def history(self, prompt_id: str) -> Outputs | None:
        """Return the outputs of a run that is over, None of one that is not; raises as `run` does."""
        return self._call(self._history(prompt_id))

    def interrupt(self) -> None:
        """Stop the graph that runs now."""
        self._call(self._request("POST", "/interrupt", json={}))

    def object_info(self) -> dict[str, Any]:
        """Return every node that the server knows, with its inputs and outputs."""
        return json.loads(self._call(self._request("GET", "/object_info")))

    def upload_image(self, path: Path, name: str | None = None) -> str:
        """Put an image into the server's input folder and return the name that LoadImage takes."""
        return self._call(self._upload(path, name or path.name))

    def fetch(self, file: File) -> bytes:
        """Return the content of a file on the server."""
        return self._call(self._request("GET", "/view", params=vars(file)))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        task = self._loop.create_task(self._guarded(work))
        try:
            return self._loop.run_until_complete(task)
        except BaseException:  # Ctrl-C too: nothing may be left waiting in the loop
            task.cancel()
            self._loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise

    async def _guarded(self, work: Coroutine[Any, Any, T]) -> T:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=10))
        try:
            return await work
        except (aiohttp.ClientConnectionError, asyncio.TimeoutError) as error:
            raise HostError(
                f"ComfyUI at {self.address} does not answer ({type(error).__name__})",
                fix="look at the end of its log, start it again, and repeat the command",
            ) from error

    async def _request(self, method: str, path: str, **options: Any) -> bytes:
        assert self._session is not None
        async with self._session.request(method, self.address + path, **options) as response:
            content = await response.read()
            if response.status >= 400:
                raise _refusal(response.status, path, content)
            return content

    async def _queue(self, graph: Graph) -> str:
        body = {"prompt": graph, "client_id": self.client_id}
        content = await self._request("POST", "/prompt", json=body)
        answer = json.loads(content)
        if not answer.get("node_errors"):
            return answer["prompt_id"]
        # ComfyUI runs the outputs that are valid; half a graph serves nobody
        await self._request("POST", "/queue", json={"delete": [answer["prompt_id"]]})
        await self._request("POST", "/interrupt", json={"prompt_id": answer["prompt_id"]})
        raise _refusal(200, "/prompt", content)

    async def _history(self, prompt_id: str) -> Outputs | None:
        entry = json.loads(await self._request("GET", f"/history/{prompt_id}")).get(prompt_id)
        if entry is None:
            return None
        told = dict(entry["status"]["messages"])
        for kind in ("execution_error", "execution_interrupted"):
            if kind in told:
                raise _failure(kind, told[kind])
        milliseconds = told["execution_success"]["timestamp"] - told["execution_start"]["timestamp"]
        return Outputs(prompt_id, entry["outputs"], milliseconds / 1000)

    async def _upload(self, path: Path, name: str) -> str:
        import aiohttp

        if not path.is_file():
            raise GraphError(f"There is no file {path}", fix="give the path of a PNG, JPEG or TIFF image")
        form = aiohttp.FormData({"type": "input", "overwrite": "true"})
        form.add_field("image", path.read_bytes(), filename=name, content_type="application/octet-stream")
        return json.loads(await self._request("POST", "/upload/image", data=form))["name"]

    async def _run(self, graph: Graph, on_progress: Callable[[Progress], None]) -> Outputs:
        assert self._session is not None
        url = f"{self.address}/ws?clientId={self.client_id}"
        async with self._session.ws_connect(url, max_msg_size=0) as socket:
            prompt_id = await self._queue(graph)
            while True:
                if await _next_is_end(socket, prompt_id, graph, on_progress):
                    outputs = await self._written_history(prompt_id)
                    if outputs is not None:
                        return outputs

    async def _written_history(self, prompt_id: str) -> Outputs | None:
        """The history, which the server writes a moment after it tells that a run is over."""
        for _ in range(20):
            outputs = await self._history(prompt_id)
            if outputs is not None:
                return outputs
            await asyncio.sleep(0.05)
        return None


async def _next_is_end(
    socket: ClientWebSocketResponse, prompt_id: str, graph: Graph, on_progress: Callable[[Progress], None]
) -> bool:
    """Take one message; return whether the run may be over. Silence counts, in case a message was lost."""
    import aiohttp

    try:
        message = await socket.receive(timeout=SILENCE_SECONDS)
    except asyncio.TimeoutError:
        return True
    if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
        raise aiohttp.ClientConnectionError("the server closed the connection")
    if message.type is not aiohttp.WSMsgType.TEXT:
        return False
    event = json.loads(message.data)
    data = event.get("data", {})
    if data.get("prompt_id") != prompt_id:
        return False
    if event["type"] == "progress":
        class_type = graph.get(data["node"], {}).get("class_type", "")
        on_progress(Progress(data["node"], class_type, data["value"], data["max"]))
    elif event["type"] == "executing" and data["node"] is not None:
        on_progress(Progress(data["node"], graph.get(data["node"], {}).get("class_type", ""), 0, 1))
    return event["type"] in ("execution_success", "execution_error", "execution_interrupted")


def _refusal(status: int, path: str, content: bytes) -> GraphError:
    try:
        answer = json.loads(content)
        node_errors = answer.get("node_errors") or {}
        told = [answer["error"]["message"] if status >= 400 else "not all of its outputs can be made"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return GraphError(
            f"ComfyUI answered {path} with status {status}: {content[:300]!r}", fix="check what was asked for"
        )
    for node, errors in node_errors.items():
        name = f"node {node} ({errors['class_type']})"
        told += [f"{name}: {e['message']}: {e['details']}" for e in errors["errors"]]
    return RefusedError(
        "ComfyUI refused the graph: " + "; ".join(told), fix="correct these inputs", node_errors=node_errors
    )


def _failure(kind: str, data: dict[str, Any]) -> GraphError:
    node = f"{data['node_id']} ({data['node_type']})"
    if kind == "execution_interrupted":
        return InterruptedRun(f"The run was stopped at node {node}", fix="queue it again")
    problem, _, fix = data["exception_message"].strip().partition(". Fix: ")  # our own errors bring a fix
    fix = fix or "mend what it names, or look at ComfyUI's log"
    return ExecutionError(f"Node {node} failed: {problem}", fix=fix, node=data["node_id"])
