"""`StabilityBar`: a stability result as a bar of blocks, which shows what stays the same in a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from relay_models.pictures.picture import Picture, table
from relay_models.pictures.svg import Canvas, usable_width
from relay_models.pictures.text import cells, clip_cells, pixels, plain

if TYPE_CHECKING:
    from relay_models.records import BlockStabilityScore, StabilityAnalysisResult

__all__ = ["StabilityBar"]

# classification -> (word, letter, glyph, ASCII glyph, terminal style, SVG class)
_KINDS = {
    "stable": ("stable", "S", "█", "#", "green", "good"),
    "semi_stable": ("semi-stable", "s", "▓", "+", "yellow", "semi"),
    "variable": ("variable", "v", "░", ".", "dark_orange", "vary"),
}
_HEIGHTS = {"stable": 34.0, "semi_stable": 23.0, "variable": 12.0}

PAD, ROW, TOP = 20.0, 22.0, 172.0


class StabilityBar(Picture):
    """The blocks of a prompt in order: stable, semi-stable or variable, and where the stable prefix ends.

    Args:
        result: The record to draw.
        agent_id: The agent, for the headline; the record does not contain it.
    """

    def __init__(self, result: StabilityAnalysisResult, *, agent_id: str | None = None) -> None:
        self.result = result
        self.agent_id = agent_id

    @property
    def title(self) -> str:
        return "Prompt stability" + (f" of {plain(self.agent_id)}" if self.agent_id else "")

    @property
    def summary(self) -> str:
        """Counts in words."""
        scores = self.result.scores
        counts = {kind: sum(str(score.classification) == kind for score in scores) for kind in _KINDS}
        parts = [f"{counts[kind]} {_KINDS[kind][0]}" for kind in _KINDS if counts[kind]]
        seen = self.result.total_observations
        return " · ".join(
            [
                f"{len(scores)} block{'' if len(scores) == 1 else 's'}" + (f": {', '.join(parts)}" if parts else ""),
                f"stable prefix of {self.result.stable_prefix_length}",
                f"{seen:,} observation{'' if seen == 1 else 's'}",
            ]
        )

    def details(self) -> str:
        heads = ("#No.", "Span", "Class", "#Score", "#Confidence", "#Observations")
        return table("Blocks in prompt order", heads, self._rows())

    def _rows(self) -> Iterator[Sequence[str]]:
        for number, score in enumerate(self.result.scores, 1):
            yield (
                str(number), plain(score.span_id), _kind(score)[0],
                f"{score.score:.2f}", f"{score.confidence:.2f}", f"{score.observation_count:,}",
            )  # fmt: skip

    def renderable(self, width: int, *, ascii_only: bool = False) -> RenderableType:
        scores = self.result.scores
        lines = [
            Text(clip_cells(self.title, min(width, cells(self.title))), style="bold"),
            Text(self.summary),
            Text(""),
        ]
        if not scores:
            return Group(*lines[:2], Text("no blocks observed", style="bright_black"))
        lines.extend(self._text_bar(width, ascii_only))
        numbers = len(str(len(scores)))
        name_room = min(
            max(cells(plain(score.span_id)) for score in scores), max(width - numbers - (38 if width >= 60 else 21), 12)
        )
        bar_room = min(max(width - numbers - name_room - 39, 0), 20)
        lines.append(Text(""))
        for number, score in enumerate(scores, 1):
            word, _, glyph, ascii_glyph, style, _ = _kind(score)
            line = Text(f"{number:>{numbers}} ", style="bright_black", no_wrap=True, overflow="crop")
            line.append(ascii_glyph if ascii_only else glyph, style=style)
            line.append(f" {clip_cells(plain(score.span_id), name_room)} ")
            line.append(f"{word:<11}", style=style)
            if bar_room >= 8:
                filled = round(max(0.0, min(score.score, 1.0)) * bar_room)
                line.append(" " + ("=" if ascii_only else "━") * filled, style=style)
                line.append(("-" if ascii_only else "─") * (bar_room - filled), style="bright_black")
            line.append(f" {score.score:.2f}")
            if cells(line.plain) + 17 <= width:
                line.append(f"  confidence {score.confidence:.2f}", style="bright_black")
            lines.append(line)
        used = {str(score.classification) for score in scores}
        legend = Text("\n")
        for kind, (word, _, glyph, ascii_glyph, style, _) in _KINDS.items():
            if kind in used:
                legend.append((ascii_glyph if ascii_only else glyph) * 2, style=style).append(
                    f" {word}   ", style="bright_black"
                )
        return Group(*lines, legend)

    def _text_bar(self, width: int, ascii_only: bool) -> Iterator[Text]:
        scores = self.result.scores
        edges = [position * width // len(scores) for position in range(len(scores) + 1)]
        bar = Text(no_wrap=True, overflow="crop")
        for score, start, end in zip(scores, edges, edges[1:], strict=False):
            _, _, glyph, ascii_glyph, style, _ = _kind(score)
            size = end - start
            gap = 1 if size >= 3 else 0
            bar.append((ascii_glyph if ascii_only else glyph) * (size - gap), style=style).append(" " * gap)
        yield bar
        prefix = min(self.result.stable_prefix_length, len(scores))
        if prefix:
            size = max(edges[prefix] - (1 if edges[1] >= 3 else 0), 1)
            left, line, right = ("`", "-", "'") if ascii_only else ("╰", "─", "╯")
            drawn = left + line * (size - 2) + right if size >= 2 else line
            words = " stable prefix"
            yield Text(drawn + (words if size + len(words) <= width else ""), style="green", no_wrap=True)

    def svg(self, *, width: int = 960) -> str:
        width = usable_width(width, 360)
        scores = self.result.scores
        canvas = Canvas(width)
        canvas.text(PAD, 34, self.title, "h", room=width - 2 * PAD, size=17.8)
        canvas.text(PAD, 54, self.summary, "", room=width - 2 * PAD)
        if not scores:
            canvas.text(PAD, 84, "no blocks observed", "m")
            return canvas.finish(104, self.title, self.summary)
        self._svg_legend(canvas)
        self._svg_bar(canvas, width)
        self._svg_list(canvas, width)
        spoken = "\n".join(" ".join(row[1:3]) for row in self._rows())
        return canvas.finish(TOP + ROW * len(scores) + 16, self.title, f"{self.summary}.\n{spoken}")

    def _svg_legend(self, canvas: Canvas) -> None:
        used = {str(score.classification) for score in self.result.scores}
        x = PAD
        for kind, (word, _, _, _, _, css) in _KINDS.items():
            if kind in used:
                height = _HEIGHTS[kind] / 2.4
                canvas.rect(x, 80 - height, 16, height, css, radius=2)
                canvas.text(x + 24, 80, word, "m")
                x += 24 + pixels(word, 12) + 18

    def _svg_bar(self, canvas: Canvas, width: float) -> None:
        """Height as well as color encodes the class."""
        scores = self.result.scores
        step = (width - 2 * PAD) / len(scores)
        gap = min(3.0, step * 0.2)
        base = 132.0
        for number, score in enumerate(scores, 1):
            kind = _kind(score)
            height = _HEIGHTS.get(str(score.classification), 12.0)
            canvas.open(
                f"{number}. {plain(score.span_id)}\n"
                f"{kind[0]}, score {score.score:.2f}, confidence {score.confidence:.2f}"
            )
            canvas.rect(
                PAD + step * (number - 1), base - height, step - gap, height, kind[5], radius=min(3.0, step / 4)
            )
            canvas.close()
        prefix = min(self.result.stable_prefix_length, len(scores))
        if prefix:
            end = PAD + step * prefix - gap
            canvas.path(f"M{PAD} {base + 5:.1f}v6H{end:.1f}v-6", "k")
            words = f"stable prefix, {prefix} block{'' if prefix == 1 else 's'}"
            fits = end - PAD >= pixels(words, 11)
            canvas.text((PAD + end) / 2 if fits else PAD, base + 24, words, "m s c" if fits else "m s")

    def _svg_list(self, canvas: Canvas, width: float) -> None:
        scores = self.result.scores
        name_room = min(max(pixels(plain(score.span_id), 12) for score in scores) + 4, width * 0.4)
        x_class = PAD + 48 + name_room + 16
        x_bar = x_class + 90
        room = width - PAD - x_bar - 130
        for position, score in enumerate(scores):
            kind = _kind(score)
            y = TOP + ROW * position
            if position % 2 == 0:
                canvas.rect(PAD / 2, y, width - PAD, ROW, "band")
            canvas.text(PAD + 22, y + 15, str(position + 1), "m s e n")
            canvas.rect(PAD + 30, y + 6, 10, 10, kind[5], radius=2)
            canvas.text(PAD + 48, y + 15, score.span_id, "", room=name_room)
            canvas.text(x_class, y + 15, kind[0], "m")
            if room > 40:
                canvas.rect(x_bar, y + 8, room, 6, "ghost", radius=3)
                canvas.rect(x_bar, y + 8, room * max(0.0, min(score.score, 1.0)), 6, kind[5], radius=3)
            canvas.text(width - PAD - 96, y + 15, f"{score.score:.2f}", "e n")
            canvas.text(width - PAD, y + 15, f"confidence {score.confidence:.2f}", "m s e n")


def _kind(score: BlockStabilityScore) -> tuple[str, str, str, str, str, str]:
    name = str(score.classification)
    return _KINDS.get(name) or (plain(name), "?", "▒", "?", "bright_black", "ghost")
