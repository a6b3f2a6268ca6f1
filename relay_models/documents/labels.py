"""`Labels`: what is said of a run after it was stored: tags, scores and notes, and who said so and when."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from relay_models._checks import shown
from relay_models._time import datetime_of
from relay_models.columns.scores import SCORE_VALUES, checked_name, score_member, score_terms
from relay_models.columns.tags import escape_tag
from relay_models.columns.types import rounded
from relay_models.errors import InvalidRecordError, QueryError

__all__ = ["MAX_LABEL_TEXT", "LabelChange", "Labels", "Note", "Origin", "Score"]

MAX_LABEL_TEXT = 4000
"""Maximum length of a tag and of a note (bytes of UTF-8): an index cuts longer texts off without an error."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who said something of a run, and when.

    Args:
        at: when.
        source: what said so: ``human``, ``evaluator``, or a word of your own.
        by: name of the person or the evaluator; None where it was not given.
    """

    at: datetime
    source: str
    by: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The origin as a JSON object; the instant in UTC."""
        found = {"at": self.at.isoformat().replace("+00:00", "Z"), "source": self.source}
        return found if self.by is None else {**found, "by": self.by}


@dataclass(frozen=True, slots=True)
class Score:
    """A score of a run: its value, kept to 15 significant digits, and its origin."""

    value: float
    origin: Origin


@dataclass(frozen=True, slots=True)
class Note:
    """A note on a run, and its origin."""

    text: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What a call of `label` says: one change, made to any number of runs.

    Args:
        tags: tags to add.
        remove_tags: tags to take away.
        scores: scores to set, by name.
        remove_scores: names of scores to take away.
        note: a note to add.
        at: when it is said (epoch microseconds).
        source: what says so.
        by: its name.
        note_id: identifies the note, so that a repeated change does not add it again.

    Raises:
        InvalidRecordError: a tag, a note, a name or a number cannot be kept exactly.
    """

    tags: frozenset[str]
    remove_tags: frozenset[str]
    scores: Mapping[str, float]
    remove_scores: frozenset[str]
    note: str | None
    at: int
    source: str
    by: str | None
    note_id: str

    @classmethod
    def checked(
        cls,
        *,
        tags: Iterable[str] = (),
        remove_tags: Iterable[str] = (),
        scores: Mapping[str, float] | None = None,
        remove_scores: Iterable[str] = (),
        note: str | None = None,
        at: int,
        source: str,
        by: str | None,
        note_id: str,
    ) -> Self:
        """A change of what a caller gave.

        Raises:
            InvalidRecordError: a tag, a note, a name or a number cannot be kept exactly, or nothing is said.
        """
        added, removed = _texts("tags", tags), _texts("remove_tags", remove_tags)
        unnamed = _texts("remove_scores", remove_scores)
        if both := added & removed:
            raise InvalidRecordError(f"{', '.join(map(repr, sorted(both)))}: in tags and in remove_tags", "tags")
        if scores is not None and not isinstance(scores, Mapping):
            example = {"helpfulness": 0.8}
            raise InvalidRecordError(f"scores is a number by name, such as {example}, not {shown(scores)}", "scores")
        numbers = {_name(name): _number(name, value) for name, value in (scores or {}).items()}
        if twice := numbers.keys() & unnamed:
            raise InvalidRecordError(f"{', '.join(map(repr, sorted(twice)))}: in scores and in remove_scores", "scores")
        if note is not None:
            _text("note", note)
        for name, text in (("source", source), ("by", by)):
            if text is not None:
                _text(name, text)
        if not (added or removed or numbers or unnamed or note is not None):
            raise InvalidRecordError("a label says something: give tags, scores or a note", "tags")
        return cls(added, removed, numbers, unnamed, note, at, source, by, note_id)


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a run.

    Attributes:
        tags: the origin of each tag, by tag.
        scores: the scores by name.
        notes: the notes, in the order in which they were added.
    """

    tags: Mapping[str, Origin] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    _stored: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str | bytes | None) -> Labels:
        """The labels in the JSON text that is stored with a run; none of them in None.

        Raises:
            ValueError: it is no such text.
        """
        if text is None:
            return NO_LABELS
        try:
            found = json.loads(text)
            return Labels(
                {tag: _origin(entry) for tag, entry in sorted(found.get("tags", {}).items())},
                {name: Score(float(e["value"]), _origin(e)) for name, e in sorted(found.get("scores", {}).items())},
                tuple(Note(entry["text"], _origin(entry)) for entry in found.get("notes", ())),
                found,
            )
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"its labels are unreadable: {error!r}") from None

    def column_values(self) -> dict[str, Any]:
        """What the columns about labels hold, by name, as stored."""
        return {
            "tags": sorted(self.tags),
            "notes": sorted({note.text for note in self.notes}),
            "scores": {name: score.value for name, score in self.scores.items()},
        }

    def __bool__(self) -> bool:
        return bool(self.tags or self.scores or self.notes)

    def to_dict(self) -> dict[str, Any]:
        """The labels as a JSON object, each with its origin; parts without a label are left out."""
        parts = {
            "tags": {tag: origin.to_dict() for tag, origin in self.tags.items()},
            "scores": {name: {"value": score.value, **score.origin.to_dict()} for name, score in self.scores.items()},
            "notes": [{"text": note.text, **note.origin.to_dict()} for note in self.notes],
        }
        return {name: part for name, part in parts.items() if part}

    def changed(self, change: LabelChange) -> Labels:
        """These labels with a change made to them; a tag that is there already keeps its origin."""
        said = {"at": change.at, "source": change.source} | ({} if change.by is None else {"by": change.by})
        stored = dict(self._stored)
        tags = dict.fromkeys(change.tags, said) | dict(stored.get("tags", {}))
        stored["tags"] = {tag: entry for tag, entry in tags.items() if tag not in change.remove_tags}
        scores = dict(stored.get("scores", {})) | {n: {"value": v, **said} for n, v in change.scores.items()}
        stored["scores"] = {name: entry for name, entry in scores.items() if name not in change.remove_scores}
        notes = list(stored.get("notes", ()))
        if change.note is not None and all(entry.get("id") != change.note_id for entry in notes):
            notes.append({"id": change.note_id, "text": change.note, **said})
        stored["notes"] = notes
        return replace(Labels.parse(json.dumps(stored)), _stored=stored)

    def members(self, before: Labels) -> dict[str, Any]:
        """The members of the stored document that labels are; None for what is taken out of those of `before`."""
        values = self.column_values()
        kept = {name: part for name, part in self._stored.items() if part}
        return {
            "labels": json.dumps(kept, ensure_ascii=False, separators=(",", ":")) if kept else None,
            "tags": [escape_tag(tag) for tag in values["tags"]] or None,
            "notes": [escape_tag(note) for note in values["notes"]] or None,
            SCORE_VALUES: {score_member(name): None for name in before.scores}
            | {score_member(name): repr(value) for name, value in values["scores"].items()}
            or None,
            "score_terms": [escape_tag(term) for term in score_terms(values["scores"])] or None,
        }


NO_LABELS = Labels()


def _origin(entry: Mapping[str, Any]) -> Origin:
    return Origin(datetime_of(entry["at"]), entry["source"], entry.get("by"))


def _texts(what: str, given: Iterable[str]) -> frozenset[str]:
    if isinstance(given, str | bytes):
        raise InvalidRecordError(f"{what} is several texts, such as {{{shown(given)}}}, not one", what)
    return frozenset(_text(what, text) for text in given)


def _text(what: str, text: Any) -> str:
    if not isinstance(text, str):
        raise InvalidRecordError(f"{what}: a text, not {shown(text)} ({type(text).__name__})", what)
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRecordError(f"{what}: {shown(text)} cannot be stored as text (a lone surrogate)", what) from None
    if length > MAX_LABEL_TEXT:
        raise InvalidRecordError(f"{what}: a text of at most {MAX_LABEL_TEXT:,} bytes, not {length:,}", what)
    return text


def _name(name: Any) -> str:
    try:
        return checked_name(name)
    except QueryError as error:
        raise InvalidRecordError(str(error), "scores") from None


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRecordError(
            f"the score {shown(name)} is a number, not {shown(value)} ({type(value).__name__})", "scores"
        )
    try:
        number = rounded(float(value))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidRecordError(f"the score {shown(name)} is a finite number, not {shown(value)}", "scores")
    return number + 0.0
