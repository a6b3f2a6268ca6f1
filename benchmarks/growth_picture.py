"""`growth_svg`: cost against the number of runs as a picture, with logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from relay_models.pictures.svg import Canvas

__all__ = ["growth_svg"]

WIDTH, HEIGHT, TOP, LEFT, RIGHT = 960, 380, 44, 70, 300
KINDS = ("llm", "toolfill", "good", "failed", "semi", "vary", "dot", "ghost")


def growth_svg(found: Mapping[int, Mapping[str, float]], title: str) -> str:
    """Draw a line for each question.

    Args:
        found: seconds by question, by the number of runs.
        title: the headline.
    """
    canvas = Canvas(WIDTH)
    canvas.text(16, 24, title, "b")
    sizes = sorted(found)
    times = [seconds * 1e3 for questions in found.values() for seconds in questions.values()]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    bottom, right = TOP + HEIGHT, WIDTH - RIGHT

    def x(size: int) -> float:
        span = math.log10(sizes[-1] / sizes[0]) or 1.0
        return LEFT + (right - LEFT) * math.log10(size / sizes[0]) / span

    def y(milliseconds: float) -> float:
        return bottom - HEIGHT * (math.log10(milliseconds) - low) / max(high - low, 1)

    for power in range(low, high + 1):
        canvas.line(LEFT, y(10.0**power), right, y(10.0**power))
        canvas.text(LEFT - 8, y(10.0**power) + 4, f"{10.0**power:g} ms", "m s e n")
    for size in sizes:
        canvas.line(x(size), TOP, x(size), bottom)
        canvas.text(x(size), bottom + 18, f"{size:,}", "m s c n")
    names = sorted(found[sizes[-1]], key=lambda name: -found[sizes[-1]][name])
    label = float(TOP)
    for place, name in enumerate(names):
        kind = KINDS[place % len(KINDS)]
        points = [(x(size), y(found[size][name] * 1e3)) for size in sizes]
        canvas.open("\n".join([name, *(f"{size:,}: {found[size][name] * 1e3:,.2f} ms" for size in sizes)]))
        canvas.path("M" + "L".join(f"{across:.1f} {down:.1f}" for across, down in points), "k")
        for across, down in points:
            canvas.rect(across - 4, down - 4, 8, 8, kind, radius=4)
        # Labels keep their order and do not overlap.
        label = max(label, points[-1][1] + 4)
        canvas.rect(right + 12, label - 8, 8, 8, kind, radius=4)
        canvas.text(right + 26, label, f"{name}: {found[sizes[-1]][name] * 1e3:,.1f} ms", "s")
        label += 16
        canvas.close()
    spoken = "\n".join(
        f"{name}: " + ", ".join(f"{found[size][name] * 1e3:,.2f} ms at {size:,}" for size in sizes) for name in names
    )
    return canvas.finish(max(bottom + 32, label + 8), title, spoken)
