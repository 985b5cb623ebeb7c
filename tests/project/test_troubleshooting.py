"""The messages that the troubleshooting page quotes are messages of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ccm", "nodes", "biomarker_nodes", "training", "batch", "cli", "host")


def said() -> str:
    """All pieces of text in the code, those of f-strings between their values, one on a line."""
    files = [ROOT / "__init__.py", *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
    trees = (ast.parse(file.read_text("utf-8")) for file in files)
    constants = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return "\n".join(text for text in constants if isinstance(text, str))


def test_every_quoted_message_is_in_the_code() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    quoted = re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)
    assert len(quoted) >= 20
    texts = said()
    pieces = [piece.strip(" ,:") for message in quoted for piece in message.split("…")]
    assert [piece for piece in pieces if piece and piece not in texts] == []
