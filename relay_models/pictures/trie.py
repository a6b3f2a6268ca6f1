"""`TrieTree`: a prediction trie as a tree; each node has its predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from relay_models._checks import check_type
from relay_models.pictures.picture import Picture, table
from relay_models.pictures.svg import Canvas, usable_width
from relay_models.pictures.text import cells, clip_cells, number_text, pixels, plain
from relay_models.records import TrieEnvelope

if TYPE_CHECKING:
    from relay_models.records import LlmCallPrediction, PredictionMetrics, PredictionTrieNode

__all__ = ["TrieTree"]

PAD, ROW, TOP = 20.0, 24.0, 104.0
_HEADS = ("call", "samples", "left", "next ms", "out tok", "sens")


@dataclass(frozen=True, slots=True)
class _Line:
    """One prediction of a node, or a node without any."""

    guides: tuple[bool, ...]
    """For each level above: whether another sibling follows there."""
    last: bool
    name: str
    """Empty on the further lines of a node."""
    has_children: bool
    call: str
    prediction: LlmCallPrediction | None
    path: str


class TrieTree(Picture):
    """A trie's nodes as a tree; each node has one line for any call, and one per call index.

    Args:
        trie: The envelope to draw.
    """

    def __init__(self, trie: TrieEnvelope) -> None:
        check_type("trie", trie, TrieEnvelope, "a TrieEnvelope")
        self.trie = trie
        self.lines = tuple(_lines(trie.root))

    @property
    def title(self) -> str:
        return f"Prediction trie of {plain(self.trie.workflow_name)}"

    @property
    def summary(self) -> str:
        """Counts in words."""
        nodes = sum(1 for line in self.lines if line.name)
        predictions = sum(line.prediction is not None for line in self.lines)
        return " · ".join(
            [
                f"{nodes:,} node{'' if nodes == 1 else 's'}",
                f"{predictions:,} prediction{'' if predictions == 1 else 's'}",
                f"version {plain(self.trie.version)}",
                f"generated {plain(str(self.trie.generated_at))[:19].replace('T', ' ')}",
            ]
        )

    def details(self) -> str:
        heads = (
            "Path",
            "Call",
            "#Samples",
            "#Remaining calls",
            "#Next call after (ms)",
            "#Output tokens",
            "#Sensitivity",
        )
        return table("Predictions: mean (90th percentile)", heads, self._rows())

    def _rows(self) -> Iterator[Sequence[str]]:
        for line in self.lines:
            if (prediction := line.prediction) is None:
                continue
            metrics = (prediction.remaining_calls, prediction.interarrival_ms, prediction.output_tokens)
            sensitivity = prediction.latency_sensitivity
            yield (
                line.path or "(root)", line.call, f"{_samples(prediction):,}", *map(_mean, metrics),
                "" if sensitivity is None else str(sensitivity),
            )  # fmt: skip

    def renderable(self, width: int, *, ascii_only: bool = False) -> RenderableType:
        labels = [self._tree(line, ascii_only) for line in self.lines]
        longest = max(map(cells, labels))
        columns = [
            [head, *values] for head, *values in zip(_HEADS, *(_values(line) for line in self.lines), strict=True)
        ]
        for given_up in ("samples", "sens", "next ms"):
            if width - _total(columns) < min(longest, 24):
                columns = [column for column in columns if column[0] != given_up]
        room = min(longest, max(width - _total(columns), 10))
        lines: list[Text] = []
        for position, label in enumerate(["", *labels]):
            named = position > 0 and bool(self.lines[position - 1].name)
            text = Text(clip_cells(label, room), style="", no_wrap=True, overflow="crop")
            text.stylize("bold" if named else "bright_black")
            for column in columns:
                size = max(map(cells, column))
                text.append(
                    "  " + " " * (size - cells(column[position])) + column[position],
                    style="" if position else "bright_black",
                )
            lines.append(text)
        note = "mean (90th percentile): calls left, ms until the next call, output tokens; latency sensitivity"
        return Group(
            Text(self.title, style="bold", overflow="fold"), Text(self.summary, overflow="fold"), Text(""),
            *lines, Text(note, style="bright_black", overflow="fold"),
        )  # fmt: skip

    def _tree(self, line: _Line, ascii_only: bool) -> str:
        through, fork, end = ("|  ", "|- ", "`- ") if ascii_only else ("│  ", "├─ ", "╰─ ")
        before = "".join(through if guide else "   " for guide in line.guides[1:])
        if not line.guides:
            return line.name if line.name else through.rstrip() if line.has_children else ""
        if line.name:
            return before + (end if line.last else fork) + line.name
        own = "   " if line.last else through
        return (before + own + (through if line.has_children else "")).rstrip()

    def svg(self, *, width: int = 960) -> str:
        width = usable_width(width, 520)
        canvas = Canvas(width)
        canvas.text(PAD, 34, self.title, "h", room=width - 2 * PAD, size=17.8)
        canvas.text(PAD, 54, self.summary, "", room=width - 2 * PAD)
        indent = 18.0
        widest = max(pixels(line.name, 12.5) + indent * len(line.guides) for line in self.lines) + 10
        tree_room = min(widest, width * 0.34)
        x_call = PAD + tree_room + 44
        column = (width - PAD - 44 - x_call - 10) / 3
        heads = ("remaining calls", "ms to the next call", "output tokens")
        largest = [max((_most(line, index) for line in self.lines), default=0.0) for index in range(3)]
        canvas.text(x_call, TOP - 14, "call", "m s e")
        for index, head in enumerate(heads):
            canvas.text(x_call + 16 + column * index, TOP - 14, head, "m s", room=column - 16, size=11)
        canvas.text(width - PAD, TOP - 14, "sens.", "m s e")
        open_at: dict[int, float] = {}
        shaded = False
        for position, line in enumerate(self.lines):
            top = TOP + ROW * position
            middle = top + ROW / 2
            if line.name:
                shaded = not shaded
            if shaded:
                canvas.rect(PAD / 2, top, width - PAD, ROW, "band")
            depth = len(line.guides)
            if line.name:
                x = PAD + indent * depth
                if depth:
                    elbow = x - indent + 5
                    canvas.path(f"M{elbow:.1f} {open_at.get(depth - 1, top):.1f}V{middle:.1f}H{x - 3:.1f}", "k")
                    open_at[depth - 1] = middle
                open_at[depth] = middle + 8
                canvas.text(x, middle + 4, line.name, "b", room=tree_room - indent * depth, size=12.5)
            self._svg_prediction(canvas, line, middle, x_call, column, largest, width)
        canvas.parts.append("")
        y = TOP + ROW * len(self.lines) + 22
        canvas.text(
            PAD,
            y,
            "Dot: mean; bar: from the 50th to the 95th percentile; number: mean. Sens.: latency sensitivity.",
            "m s",
        )
        spoken = "\n".join(", ".join(row[:6]) for row in list(self._rows())[:20])
        return canvas.finish(y + 14, self.title, f"{self.summary}.\n{spoken}")

    def _svg_prediction(
        self,
        canvas: Canvas,
        line: _Line,
        middle: float,
        x_call: float,
        column: float,
        largest: list[float],
        width: float,
    ) -> None:
        prediction = line.prediction
        if prediction is None:
            return
        canvas.text(x_call, middle + 4, line.call, "e n m")
        metrics = (prediction.remaining_calls, prediction.interarrival_ms, prediction.output_tokens)
        for index, metric in enumerate(metrics):
            x = x_call + 16 + column * index
            if metric.sample_count == 0:
                canvas.text(x + 44, middle + 4, "–", "m e")
                continue
            canvas.open(
                f"{metric.sample_count:,} samples\nmean {metric.mean:.4g}\n"
                f"p50 {metric.p50:.4g}, p90 {metric.p90:.4g}, p95 {metric.p95:.4g}"
            )
            canvas.text(x + 44, middle + 4, number_text(metric.mean), "e n")
            start, room = x + 54, column - 70
            if room > 20 and largest[index] > 0:
                scale = room / largest[index]
                low, high = sorted((max(metric.p50, 0.0), max(metric.p95, 0.0)))
                canvas.rect(start, middle - 1, room, 2, "ghost")
                canvas.rect(start + low * scale, middle - 4, max((high - low) * scale, 2), 8, "llm", radius=2)
                canvas.path(f"M{start + max(metric.mean, 0.0) * scale:.1f} {middle - 5:.1f}l5 5l-5 5l-5 -5z", "dot")
            canvas.close()
        if prediction.latency_sensitivity is not None:
            canvas.text(width - PAD, middle + 4, str(prediction.latency_sensitivity), "e n")


def _lines(root: PredictionTrieNode) -> Iterator[_Line]:
    """The lines of the tree, top down; a stack instead of recursion, as a trie may be deep."""
    stack: list[tuple[PredictionTrieNode, str, tuple[bool, ...], bool, tuple[str, ...]]] = [
        (root, root.name, (), True, ())
    ]
    while stack:
        node, name, guides, last, path = stack.pop()
        predictions: list[tuple[str, LlmCallPrediction | None]] = [
            (str(index), node.predictions_by_call_index[index]) for index in sorted(node.predictions_by_call_index)
        ]
        if node.predictions_any_index is not None:
            predictions.insert(0, ("any", node.predictions_any_index))
        where = "/".join(map(plain, path))
        children = sorted(node.children.items())
        for position, (call, prediction) in enumerate(predictions or [("", None)]):
            shown = (plain(name) or "(unnamed)") if position == 0 else ""
            yield _Line(guides, last, shown, bool(children), call, prediction, where)
        inner = (*guides, not last)
        for position, (child_name, child) in reversed(list(enumerate(children))):
            stack.append((child, child_name, inner, position == len(children) - 1, (*path, child_name)))


def _values(line: _Line) -> tuple[str, ...]:
    """The cells right of the tree, as `_HEADS` names them."""
    if (prediction := line.prediction) is None:
        return ("",) * len(_HEADS)
    sensitivity = prediction.latency_sensitivity
    return (
        line.call, f"{_samples(prediction):,}", _mean(prediction.remaining_calls), _mean(prediction.interarrival_ms),
        _mean(prediction.output_tokens), "" if sensitivity is None else str(sensitivity),
    )  # fmt: skip


def _total(columns: list[list[str]]) -> int:
    return sum(max(map(cells, column)) + 2 for column in columns)


def _samples(prediction: LlmCallPrediction) -> int:
    metrics = (prediction.remaining_calls, prediction.interarrival_ms, prediction.output_tokens)
    return max(metric.sample_count for metric in metrics)


def _mean(metric: PredictionMetrics) -> str:
    return f"{number_text(metric.mean)} ({number_text(metric.p90)})" if metric.sample_count else "–"


def _most(line: _Line, index: int) -> float:
    if line.prediction is None:
        return 0.0
    metric = (line.prediction.remaining_calls, line.prediction.interarrival_ms, line.prediction.output_tokens)[index]
    return max(metric.p95, metric.p50, metric.mean) if metric.sample_count else 0.0
