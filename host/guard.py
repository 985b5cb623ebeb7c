"""Run a command, and end it with everything it started when the program that started this one is gone.

`python -I guard.py SECONDS COMMAND...`: standard input is a pipe that nobody writes to. It closes when the
other side stops the command or dies, however it dies. Then the command has SECONDS before it is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main(grace: float, command: list[str]) -> int:
    """Return the exit status of the command if it ends by itself."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    over = threading.Event()
    stopped = threading.Event()
    threading.Thread(target=watch_input, args=(over, stopped), daemon=True).start()
    threading.Thread(target=watch_child, args=(over, child), daemon=True).start()
    over.wait()
    if stopped.is_set():
        end(child, grace)
    return child.wait()


def watch_input(over: threading.Event, stopped: threading.Event) -> None:
    """Tell when standard input closes."""
    os.read(0, 1)
    stopped.set()
    over.set()


def watch_child(over: threading.Event, child: subprocess.Popen[bytes]) -> None:
    """Tell when the command ends by itself."""
    child.wait()
    over.set()


def end(child: subprocess.Popen[bytes], grace: float) -> None:
    """End the command, by force after a while, and on POSIX this whole process group, which is its own."""
    child.terminate()
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
