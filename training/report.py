"""The report of a run: what was trained, how it went, what to do with it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from .checkpoint import replace_durably
from .folder import LOG, VALIDATION, RunFolder

WIDTH, HEIGHT, MARGIN = 800, 400, 60
INK, PALE, GRID = (20, 60, 140), (190, 205, 230), (225, 225, 225)


def write_report(folder: RunFolder, adapters: Sequence[str], best: int | None) -> None:
    """Write report.md and loss.png of a run, finished or not."""
    losses = {line["step"]: line["loss"] for line in folder.lines(LOG)}
    if losses:
        replace_durably(folder.path / "loss.png", loss_curve(losses))
    text = _text(folder.manifest(), folder.lines(LOG), folder.lines(VALIDATION), adapters, best)
    replace_durably(folder.path / "report.md", text.encode())


def loss_curve(losses: Mapping[int, float]) -> bytes:
    """A PNG of the loss by step, as it is in pale and averaged over about 2 % of the run in dark."""
    from PIL import Image, ImageDraw

    steps, values = list(losses), list(losses.values())
    smooth = smoothed(values, max(1, len(values) // 50))
    top = sorted(values)[int(0.99 * (len(values) - 1))] or 1.0  # a few first steps may be far above the rest
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for part in range(5):
        y = _y(top * part / 4, top)
        draw.line([(MARGIN, y), (WIDTH - 20, y)], fill=GRID)
        draw.text((5, y - 6), f"{top * part / 4:.3g}", fill="black")
    span = max(1, steps[-1] - steps[0])
    for series, colour, width in ((values, PALE, 1), (smooth, INK, 2)):
        points = [
            (MARGIN + (WIDTH - MARGIN - 20) * (step - steps[0]) / span, _y(value, top))
            for step, value in zip(steps, series, strict=True)
        ]
        draw.line(points if len(points) > 1 else points * 2, fill=colour, width=width)
    draw.text((MARGIN, HEIGHT - 20), f"step {steps[0]}", fill="black")
    draw.text((WIDTH - 100, HEIGHT - 20), f"step {steps[-1]}", fill="black")
    draw.text((WIDTH // 2 - 20, 8), "loss", fill="black")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Means over the last `window` values, fewer at the start."""
    means = []
    for end in range(1, len(values) + 1):
        part = values[max(0, end - window) : end]
        means.append(sum(part) / len(part))
    return means


def _y(value: float, top: float) -> float:
    return HEIGHT - 30 - (HEIGHT - 60) * min(1.0, value / top)


def _text(
    manifest: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    adapters: Sequence[str],
    best: int | None,
) -> str:
    lines = ["# Training run", "", "Synthetic images, for research only. Not for clinical use.", ""]
    lines += [f"- {name}: {value}" for name, value in _facts(manifest)]
    if log:
        tail = [line["loss"] for line in log[-max(1, len(log) // 10) :]]
        lines += ["", "## Course", "", f"{log[-1]['step']} steps. Loss {log[0]['loss']:.4g} in the first, "]
        lines[-1] += f"{sum(tail) / len(tail):.4g} on average in the last tenth. "
        lines[-1] += f"Memory {max(line['memory_gb'] for line in log):.2f} GB at most. "
        rates = sorted(line["samples_per_s"] for line in log)
        lines[-1] += f"Median speed {rates[len(rates) // 2]:.3g} samples/s."
        lines += ["", "![loss](loss.png)"]
    if validation:
        lines += ["", "## Validation on held-out patients", "", *_table(validation)]
        lines += ["", f"Best: step {best}." if best is not None else ""]
    lines += ["", "## Files", ""]
    folder = "controlnet" if "control" in manifest else "loras"
    lines += [f"- `{name}`: put it into models/{folder} of ComfyUI" for name in adapters] or ["None yet."]
    return "\n".join(lines) + "\n"


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if not manifest:
        return []
    data, kind = manifest["data"], "control" if "control" in manifest else "adapter"
    shares = ", ".join(
        f"{count} frames of {data['patients'][name]} patients for {name}"
        for name, count in data["frames"].items()
    )
    return [
        ("base", f"{manifest['base']['family']} ({manifest['base']['fingerprint'][:12]})"),
        ("data", shares),
        (
            "split by patient",
            "yes" if data["split_by_patient"] else "NO: images of a patient may be in several",
        ),
        ("cohorts", ", ".join(manifest["cohorts"]) or "none"),
        (
            "control net" if kind == "control" else kind,
            f"{manifest[kind]['layers']} layers, {manifest[kind]['parameters']:,} parameters",
        ),
        ("seed", manifest["seed"]),
        ("licence", manifest["licence"]),
        ("prompt", manifest["trigger_prompt"]),
        ("versions", ", ".join(f"{k} {v}" for k, v in manifest["versions"].items())),
    ]


def _table(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(lines[0])
    rows = [" | ".join(f"{line.get(name, float('nan')):.4g}" for name in names) for line in lines]
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names), *(f"| {row} |" for row in rows)]
