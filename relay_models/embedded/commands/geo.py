"""`GeoCommands`: places on the earth as Redis keeps them, in a sorted set whose scores are hashes of 52 bits.

fakeredis keeps hashes of fewer bits, as texts: its coordinates and distances are off by up to 0.1 %, its sorted sets
have texts for scores, and it knows no rectangles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError
from fakeredis.model import ZSet

from relay_models.embedded.registry import command
from relay_models.embedded.reply_types import DoubleText, NullArray

__all__ = ["GeoCommands"]

STEPS: Final = 26
"""Bits of each coordinate."""
LONGITUDES: Final = (-180.0, 180.0)
LATITUDES: Final = (-85.05112878, 85.05112878)
EARTH_RADIUS: Final = 6372797.560856
"""In meters, as Redis has it."""
_MERCATOR_MAX: Final = 20037726.37
_UNITS: Final = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}
_ALPHABET: Final = "0123456789bcdefghjkmnpqrstuvwxyz"


class _Place(NamedTuple):
    """A member that was found."""

    member: bytes
    score: float
    meters: float
    longitude: float
    latitude: float


@dataclass(slots=True)
class _Question:
    """What GEORADIUS and GEOSEARCH ask for."""

    center: tuple[float, float] | None = None
    """Longitude and latitude."""
    radius: float | None = None
    box: tuple[float, float] | None = None
    """Width and height, in units."""
    unit: float = 1.0
    """Meters of one unit."""
    count: int = 0
    any: bool = False
    order: bytes = b""
    shown: frozenset[bytes] = frozenset()
    store: bytes | None = None
    stores_distances: bool = False


class GeoCommands:
    """Mixed into the engine's sockets, in place of fakeredis' commands."""

    _db: Any

    @command("geoadd", fixed=(Key(ZSet), bytes, bytes, bytes), repeat=(bytes,))
    def engine_geoadd(self, key: CommandItem, *args: bytes) -> int:
        at = 0
        while at < len(args) and args[at].lower() in (b"nx", b"xx", b"ch"):
            at += 1
        options, rest = {arg.lower() for arg in args[:at]}, args[at:]
        if len(rest) % 3 or {b"nx", b"xx"} <= options:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        places = [
            (rest[at + 2], float(_encode(*_coordinates(rest[at], rest[at + 1])))) for at in range(0, len(rest), 3)
        ]
        zset: ZSet = key.value
        added = changed = 0
        for member, score in places:
            known = member in zset
            if b"nx" in options if known else b"xx" in options:
                continue
            if zset.add(member, score):
                changed += 1
                added += not known
        if changed:
            key.updated()
        return changed if b"ch" in options else added

    @command("geohash", fixed=(Key(ZSet),), repeat=(bytes,))
    def engine_geohash(self, key: CommandItem, *members: bytes) -> list[bytes | None]:
        scores = [key.value.get(member) for member in members]
        return [None if score is None else _text(score) for score in scores]

    @command("geopos", fixed=(Key(ZSet),), repeat=(bytes,))
    def engine_geopos(self, key: CommandItem, *members: bytes) -> list[Any]:
        scores = [key.value.get(member) for member in members]
        return [NullArray() if score is None else _position(*_decode(score)) for score in scores]

    @command("geodist", fixed=(Key(ZSet), bytes, bytes), repeat=(bytes,))
    def engine_geodist(self, key: CommandItem, first: bytes, second: bytes, *args: bytes) -> bytes | None:
        if len(args) > 1:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        unit = _unit(args[0]) if args else 1.0
        scores = key.value.get(first), key.value.get(second)
        if scores[0] is None or scores[1] is None:
            return None
        return _fixed(_distance(*_decode(scores[0]), *_decode(scores[1])) / unit)

    @command("georadius", fixed=(Key(ZSet), *[bytes] * 4), repeat=(bytes,))
    def engine_georadius(self, key: CommandItem, *args: bytes) -> Any:
        return self._around("georadius", key, args[:2], args[2:])

    @command("georadius_ro", fixed=(Key(ZSet), *[bytes] * 4), repeat=(bytes,))
    def engine_georadius_ro(self, key: CommandItem, *args: bytes) -> Any:
        return self._around("georadius_ro", key, args[:2], args[2:])

    @command("georadiusbymember", fixed=(Key(ZSet), *[bytes] * 3), repeat=(bytes,))
    def engine_georadiusbymember(self, key: CommandItem, *args: bytes) -> Any:
        return self._around("georadiusbymember", key, args[:1], args[1:])

    @command("georadiusbymember_ro", fixed=(Key(ZSet), *[bytes] * 3), repeat=(bytes,))
    def engine_georadiusbymember_ro(self, key: CommandItem, *args: bytes) -> Any:
        return self._around("georadiusbymember_ro", key, args[:1], args[1:])

    @command("geosearch", fixed=(Key(ZSet), *[bytes] * 5), repeat=(bytes,))
    def engine_geosearch(self, key: CommandItem, *args: bytes) -> Any:
        return self._found(key, _question("geosearch", key, args, _Question()))

    @command("geosearchstore", fixed=(Key(), Key(ZSet), *[bytes] * 5), repeat=(bytes,))
    def engine_geosearchstore(self, target: CommandItem, key: CommandItem, *args: bytes) -> Any:
        return self._found(key, _question("geosearchstore", key, args, _Question(store=target.key)))

    def _around(self, name: str, key: CommandItem, center: Sequence[bytes], args: Sequence[bytes]) -> Any:
        question = _Question()
        if len(center) == 2:
            question.center = _coordinates(*center)
        elif key.value:
            question.center = _member(key, center[0])
        elif not {arg.lower() for arg in args} & {b"store", b"storedist"}:
            return []  # whatever the other arguments are
        question.radius, question.unit = _length(args[0], "radius"), _unit(args[1])
        return self._found(key, _question(name, key, args[2:], question))

    def _found(self, key: CommandItem, question: _Question) -> Any:
        places = list(_places(key.value, question)) if key.value else []
        order = question.order or (b"asc" if question.count and not question.any else b"")
        if order:
            places.sort(key=lambda place: place.meters, reverse=order == b"desc")
        if question.count:
            places = places[: question.count]
        if question.store is None:
            return [_shown(place, question) for place in places]
        target = CommandItem(question.store, self._db, self._db.get(question.store))
        if places or target.value is not None:
            zset = ZSet()
            for place in places:
                zset.add(place.member, place.meters / question.unit if question.stores_distances else place.score)
            target.value = zset
            target.writeback()
        return len(places)


def _question(name: str, key: CommandItem, args: Sequence[bytes], question: _Question) -> _Question:
    searches, stores = name.startswith("geosearch"), name == "geosearchstore"
    shown: set[bytes] = set()
    centers = shapes = at = 0
    while at < len(args):
        word, left = args[at].lower(), len(args) - at - 1
        if word in (b"withdist", b"withhash", b"withcoord"):
            shown.add(word)
        elif word == b"any":
            question.any = True
        elif word in (b"asc", b"desc"):
            question.order = word
        elif word == b"count" and left:
            question.count = Int.decode(args[at + 1])
            if question.count <= 0:
                raise SimpleError("ERR COUNT must be > 0")
            at += 1
        elif word in (b"store", b"storedist") and left and not searches and not name.endswith("_ro"):
            question.store, question.stores_distances = args[at + 1], word == b"storedist"
            at += 1
        elif word == b"storedist" and stores:
            question.stores_distances = True
        elif word == b"frommember" and left and searches and not centers:
            question.center = _member(key, args[at + 1]) if key.value else None
            centers, at = 1, at + 1
        elif word == b"fromlonlat" and left > 1 and searches and not centers:
            question.center = _coordinates(args[at + 1], args[at + 2])
            centers, at = 1, at + 2
        elif word == b"byradius" and left > 1 and searches and not shapes:
            question.radius, question.unit = _length(args[at + 1], "radius"), _unit(args[at + 2])
            shapes, at = 1, at + 2
        elif word == b"bybox" and left > 2 and searches and not shapes:
            width, height = (_length(args[at + 1 + side], ("width", "height")[side], check=False) for side in (0, 1))
            if width < 0 or height < 0:
                raise SimpleError("ERR height or width cannot be negative")
            question.box, question.unit = (width, height), _unit(args[at + 3])
            shapes, at = 1, at + 3
        else:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        at += 1
    if question.store is not None and shown:
        what = "GEOSEARCHSTORE" if stores else "STORE option in GEORADIUS"
        raise SimpleError(f"ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
    if searches and not centers:
        raise SimpleError(f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}")
    if searches and not shapes:
        raise SimpleError(f"ERR exactly one of BYRADIUS and BYBOX can be specified for {name}")
    if question.any and not question.count:
        raise SimpleError("ERR the ANY argument requires COUNT argument")
    question.shown = frozenset(shown)
    return question


def _shown(place: _Place, question: _Question) -> Any:
    parts: list[Any] = [place.member]
    if b"withdist" in question.shown:
        parts.append(_fixed(place.meters / question.unit))
    if b"withhash" in question.shown:
        parts.append(int(place.score))
    if b"withcoord" in question.shown:
        parts.append(_position(place.longitude, place.latitude))
    return parts if question.shown else place.member


# Arguments


def _double(text: bytes, error: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number) or text != text.strip() or b"_" in text:
        raise SimpleError(error)
    return number


def _coordinates(longitude: bytes, latitude: bytes) -> tuple[float, float]:
    x, y = (_double(text, msgs.INVALID_FLOAT_MSG) for text in (longitude, latitude))
    if not (LONGITUDES[0] <= x <= LONGITUDES[1] and LATITUDES[0] <= y <= LATITUDES[1]):
        raise SimpleError(f"ERR invalid longitude,latitude pair {x:f},{y:f}")
    return x, y


def _member(key: CommandItem, member: bytes) -> tuple[float, float]:
    score = key.value.get(member)
    if score is None:
        raise SimpleError("ERR could not decode requested zset member")
    return _decode(score)


def _length(text: bytes, name: str, *, check: bool = True) -> float:
    length = _double(text, f"ERR need numeric {name}")
    if check and length < 0:
        raise SimpleError(f"ERR {name} cannot be negative")
    return length


def _unit(text: bytes) -> float:
    unit = _UNITS.get(text.lower())
    if unit is None:
        raise SimpleError("ERR unsupported unit provided. please use M, KM, FT, MI")
    return unit


# Replies


def _fixed(distance: float) -> bytes:
    return b"%d.%04d" % divmod(math.floor(distance * 10_000 + 0.5), 10_000)


def _position(longitude: float, latitude: float) -> list[Any]:
    return [DoubleText(f"{number:.17f}".rstrip("0").rstrip(".").encode()) for number in (longitude, latitude)]


def _text(score: float) -> bytes:
    """The geohash of a place as others write it, whose latitudes go from pole to pole."""
    bits = _encode(*_decode(score), latitudes=(-90.0, 90.0))
    # 52 bits are 10 letters and a part of the eleventh, for which Redis writes 0.
    return ("".join(_ALPHABET[bits >> (47 - 5 * place) & 31] for place in range(10)) + "0").encode()


# Hashes: the bits of latitude and longitude in turn


def _encode(longitude: float, latitude: float, steps: int = STEPS, latitudes: tuple[float, float] = LATITUDES) -> int:
    x = int((longitude - LONGITUDES[0]) / (LONGITUDES[1] - LONGITUDES[0]) * (1 << steps))
    y = int((latitude - latitudes[0]) / (latitudes[1] - latitudes[0]) * (1 << steps))
    return _spread(y) | _spread(x) << 1


def _spread(number: int) -> int:
    """32 bits, with a zero before each of them."""
    number &= 0xFFFFFFFF
    for shift, mask in _SPREADS:
        number = (number | number << shift) & mask
    return number


_SPREADS: Final = (
    (16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)  # fmt: skip


def _gathered(number: int) -> int:
    """Every second bit of a number."""
    number &= 0x5555555555555555
    for shift, mask in ((1, 0x3333333333333333), (2, 0x0F0F0F0F0F0F0F0F), (4, 0x00FF00FF00FF00FF)):
        number = (number | number >> shift) & mask
    for shift, mask in ((8, 0x0000FFFF0000FFFF), (16, 0x00000000FFFFFFFF)):
        number = (number | number >> shift) & mask
    return number


def _area(bits: int, steps: int) -> tuple[float, float, float, float]:
    """The least and greatest longitude and latitude of a hash."""
    x, y = _gathered(bits >> 1), _gathered(bits)
    cells = 1 << steps
    wide, high = LONGITUDES[1] - LONGITUDES[0], LATITUDES[1] - LATITUDES[0]
    return (
        LONGITUDES[0] + (x * 1.0 / cells) * wide,
        LONGITUDES[0] + ((x + 1) * 1.0 / cells) * wide,
        LATITUDES[0] + (y * 1.0 / cells) * high,
        LATITUDES[0] + ((y + 1) * 1.0 / cells) * high,
    )


def _decode(score: float) -> tuple[float, float]:
    """The longitude and the latitude in the middle of a hash."""
    west, east, south, north = _area(int(score), STEPS)
    return (
        min(max((west + east) / 2, LONGITUDES[0]), LONGITUDES[1]),
        min(max((south + north) / 2, LATITUDES[0]), LATITUDES[1]),
    )


# Distances and areas


def _distance(x1: float, y1: float, x2: float, y2: float) -> float:
    """The distance of two places in meters."""
    v = math.sin((math.radians(x2) - math.radians(x1)) / 2)
    if v == 0.0:
        return _latitude_distance(y1, y2)
    lat1, lat2 = math.radians(y1), math.radians(y2)
    u = math.sin((lat2 - lat1) / 2)
    return 2.0 * EARTH_RADIUS * math.asin(math.sqrt(u * u + math.cos(lat1) * math.cos(lat2) * v * v))


def _latitude_distance(y1: float, y2: float) -> float:
    return EARTH_RADIUS * abs(math.radians(y2) - math.radians(y1))


def _places(zset: ZSet, question: _Question) -> Iterator[_Place]:
    """The members within the shape, in the order in which Redis comes to them."""
    found = 0
    for low, high in _ranges(question):
        for score, member in zset.irange_score((low, b""), (high, b""), False):
            place = _within(member, score, question)
            if place is None:
                continue
            yield place
            found += 1
            if question.any and found >= question.count:
                return


def _within(member: bytes, score: float, question: _Question) -> _Place | None:
    assert question.center is not None
    (x, y), (longitude, latitude) = question.center, _decode(score)
    if question.box is None:
        assert question.radius is not None
        meters = _distance(x, y, longitude, latitude)
        inside = meters <= question.radius * question.unit
    else:
        width, height = (side * question.unit for side in question.box)
        inside = (
            _latitude_distance(latitude, y) <= height / 2 and _distance(longitude, latitude, x, latitude) <= width / 2
        )
        meters = _distance(x, y, longitude, latitude)
    return _Place(member, score, meters, longitude, latitude) if inside else None


def _ranges(question: _Question) -> Iterator[tuple[float, float]]:
    """The ranges of scores that may have places within the shape: of the cell of its center, and of those around it."""
    assert question.center is not None
    x, y = question.center
    if question.box is None:
        assert question.radius is not None
        half_width = half_height = meters = question.radius * question.unit
    else:
        half_width, half_height = (side * question.unit / 2 for side in question.box)
        meters = math.sqrt(half_width**2 + half_height**2)
    high = math.degrees(half_height / EARTH_RADIUS)
    top, bottom = (math.degrees(half_width / EARTH_RADIUS / math.cos(math.radians(y + way))) for way in (high, -high))
    wide = bottom if y < 0 else top
    west, south, east, north = x - wide, y - high, x + wide, y + high

    steps = _steps(meters, y)
    cells = _cells(_encode(x, y, steps), steps)
    if steps > 1 and (
        _area(cells["n"], steps)[3] < north
        or _area(cells["s"], steps)[2] > south
        or _area(cells["e"], steps)[1] < east
        or _area(cells["w"], steps)[0] > west
    ):
        steps -= 1
        cells = _cells(_encode(x, y, steps), steps)
    left_out = ""
    if steps >= 2:
        own_west, own_east, own_south, own_north = _area(cells[""], steps)
        left_out += "s" if own_south < south else ""
        left_out += "n" if own_north > north else ""
        left_out += "w" if own_west < west else ""
        left_out += "e" if own_east > east else ""
    shift, seen = 52 - 2 * steps, -1
    for name in ("", "n", "s", "e", "w", "ne", "nw", "se", "sw"):
        bits = cells[name]
        if any(way in left_out for way in name) or bits == seen:
            continue
        seen = bits if name else seen
        yield float(bits << shift), float(bits + 1 << shift)


def _steps(meters: float, latitude: float) -> int:
    """How many bits a cell has that is about as large as the shape."""
    if meters == 0:
        return STEPS
    steps = 1
    while meters < _MERCATOR_MAX:
        meters *= 2
        steps += 1
    steps -= 2
    if abs(latitude) > 66:
        steps -= 2 if abs(latitude) > 80 else 1
    return min(max(steps, 1), STEPS)


def _cells(bits: int, steps: int) -> dict[str, int]:
    """The cell itself and the eight around it, by their directions; they wrap around."""
    x, y, mask = _gathered(bits >> 1), _gathered(bits), (1 << steps) - 1

    def cell(right: int, up: int) -> int:
        return _spread(x + right & mask) << 1 | _spread(y + up & mask)

    ways = {"n": (0, 1), "s": (0, -1), "e": (1, 0), "w": (-1, 0), "ne": (1, 1), "nw": (-1, 1), "se": (1, -1)}
    return {"": bits, "sw": cell(-1, -1), **{name: cell(*way) for name, way in ways.items()}}
