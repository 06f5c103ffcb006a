"""The bytes of the intake ring: header, table of contexts, slots. What comes in is memory; it decides nothing.

    0      header: magic, slots, next trigger, clean, epoch, boot
    4096   contexts: 64 of 512 bytes, each length, CRC-32 and MessagePack
    36864  slots of 512 bytes: state, then what was taken, what was answered and the source's own number of the part,
           each behind its CRC-32

The state byte is written last and cleared first, so a slot is never read half written.
"""

import mmap
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_protocol.batch import Context

MAGIC = int.from_bytes(b"LINERNG1", "little")
HEADER_BYTES = 4096
CONTEXTS = 64
CONTEXT_BYTES = 512
SLOT_BYTES = 512
TEXT_BYTES = (96, 48, 48)
"""Room for part, product and lot."""

FREE, TAKEN, ANSWERED = 0, 1, 2

_SLOTS_AT = HEADER_BYTES + CONTEXTS * CONTEXT_BYTES
_WORDS = 8
_BOOT_BYTES = 64
_CRC = struct.Struct("<I")
_TAKEN = struct.Struct("<QqqH3B192s")
_ANSWER = struct.Struct("<HBHBdq3B192s")
_TAKEN_AT = 1 + _CRC.size
_ANSWER_AT = _TAKEN_AT + _TAKEN.size + _CRC.size
_NUMBER = struct.Struct("<Qq")
_NUMBER_AT = _ANSWER_AT + _ANSWER.size + _CRC.size
_ENTRY = struct.Struct("<HI")


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict in a slot, as numbers. The texts again: a source may name the part after it was taken."""

    context: int
    verdict: int
    reason: int
    score: float | None
    latency_us: int
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What a slot holds."""

    n: int
    at_us: int
    mono_us: int
    context: int
    texts: tuple[str, ...]
    answer: Answer | None
    number: int | None = None


def blank(slots: int) -> bytes:
    """A new ring's bytes: the next trigger is 1, and nothing was left behind."""
    words = struct.pack("<QQQQ", MAGIC, slots, 1, 1)
    return words.ljust(_SLOTS_AT + slots * SLOT_BYTES, b"\0")


def is_ring(path: Path) -> bool:
    """Whether the file at `path` is a whole ring."""
    with path.open("rb") as file:
        head = file.read(16)
    if len(head) < 16:
        return False
    magic, slots = struct.unpack("<QQ", head)
    return bool(magic == MAGIC and slots > 0 and path.stat().st_size == _SLOTS_AT + slots * SLOT_BYTES)


def pack(n: int, at_us: int, mono_us: int, context: int, texts: tuple[str, ...]) -> bytes:
    """The bytes of what was taken."""
    return _TAKEN.pack(n, at_us, mono_us, context, *_pack_texts(texts))


def _pack_texts(texts: tuple[str, ...]) -> tuple[int, int, int, bytes]:
    part, product, lot = map(cut, texts, TEXT_BYTES)
    return len(part), len(product), len(lot), part + product + lot


def _unpack_texts(lengths: list[int], raw: bytes) -> tuple[str, ...]:
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return tuple(raw[end - length : end].decode(errors="replace") for end, length in zip(ends, lengths, strict=True))


def cut(text: str, room: int) -> bytes:
    """`text` as bytes, no more than `room` and whole characters."""
    raw = text.encode(errors="replace")
    return raw if len(raw) <= room else raw[:room].decode(errors="ignore").encode()


def kept(part: str, product: str, lot: str) -> tuple[str, str, str]:
    """What a part is called as a slot gives it back: to the byte what is told of it, before a kill and after."""
    if not (part or product or lot):
        return "", "", ""
    part, product, lot = (cut(text, room).decode() for text, room in zip((part, product, lot), TEXT_BYTES, strict=True))
    return part, product, lot


class Header:
    """The ring's first words. A word is written in one store: a kill leaves the old or the new number."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._view = memoryview(memory)[: _WORDS * 8]
        self._words = self._view.cast("Q")
        self.slots = self._words[1]

    @property
    def next_n(self) -> int:
        """The number of the next trigger."""
        return self._words[2]

    @next_n.setter
    def next_n(self, n: int) -> None:
        self._words[2] = n

    @property
    def clean(self) -> bool:
        """Whether the last process left nothing behind."""
        return bool(self._words[3])

    @property
    def epoch(self) -> int:
        """The epoch of the triggers in the slots."""
        return self._words[4]

    @property
    def boot(self) -> str:
        """The boot of the machine in which the slots were written."""
        raw = self._memory[_WORDS * 8 : _WORDS * 8 + _BOOT_BYTES]
        return raw.rstrip(b"\0").decode(errors="replace")

    def begin(self, boot: str, epoch: int, next_n: int) -> None:
        """A process starts to write."""
        self._words[3] = 0
        self._words[4] = epoch
        self._words[2] = next_n
        self._memory[_WORDS * 8 : _WORDS * 8 + _BOOT_BYTES] = cut(boot, _BOOT_BYTES).ljust(_BOOT_BYTES, b"\0")

    def end(self, *, clean: bool) -> None:
        """A process stops in order."""
        self._words[3] = int(clean)

    def release(self) -> None:
        """Let go of the memory, so that it can be closed."""
        self._words.release()
        self._view.release()


class Contexts:
    """Interned contexts: a slot points to what judged. Entries that no slot points to are used again."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._last = CONTEXTS - 1
        self._known: list[Context | None] = [self._load(number) for number in range(CONTEXTS)]
        self._numbers: dict[Context, int] = {
            context: number for number, context in enumerate(self._known) if context is not None
        }

    def number(self, context: Context, in_use: Callable[[], set[int]]) -> int | None:
        """Where `context` stands, written if it is new; None when every entry is in use."""
        number = self._numbers.get(context)
        return self._add(context, in_use) if number is None else number

    def read(self, number: int) -> Context:
        """The context at `number`; one without a name if it was damaged."""
        context = self._known[number] if number < CONTEXTS else None
        return context or Context(pipeline="")

    def _add(self, context: Context, in_use: Callable[[], set[int]]) -> int | None:
        # Round and round: what was given a moment ago may not be in a slot yet, and must not be given again.
        candidates = [(self._last + 1 + i) % CONTEXTS for i in range(CONTEXTS)]
        used = in_use() if None not in self._known else {n for n, known in enumerate(self._known) if known is not None}
        number = next((n for n in candidates if n not in used), None)
        raw = msgspec.msgpack.encode(context)
        if number is None or len(raw) > CONTEXT_BYTES - _ENTRY.size:
            return None
        if (replaced := self._known[number]) is not None:
            del self._numbers[replaced]
        at = HEADER_BYTES + number * CONTEXT_BYTES
        self._memory[at : at + CONTEXT_BYTES] = (_ENTRY.pack(len(raw), zlib.crc32(raw)) + raw).ljust(
            CONTEXT_BYTES, b"\0"
        )
        self._known[number] = context
        self._numbers[context] = self._last = number
        return number

    def _load(self, number: int) -> Context | None:
        at = HEADER_BYTES + number * CONTEXT_BYTES
        length, crc = _ENTRY.unpack_from(self._memory, at)
        raw = self._memory[at + _ENTRY.size : at + _ENTRY.size + length]
        if not length or zlib.crc32(raw) != crc:
            return None
        try:
            return msgspec.msgpack.decode(raw, type=Context)
        except msgspec.MsgspecError:
            return None


class Slots:
    """The slots themselves."""

    def __init__(self, memory: mmap.mmap, count: int) -> None:
        self._memory = memory
        self._count = count

    def take(self, slot: int, taken: bytes) -> None:
        """Write what was taken, as `pack` made it, then say so."""
        at = _SLOTS_AT + slot * SLOT_BYTES
        self._memory[at + 1 : at + _TAKEN_AT + _TAKEN.size] = _CRC.pack(zlib.crc32(taken)) + taken
        self._memory[at] = TAKEN

    def answer(self, slot: int, answer: Answer) -> None:
        """Write the verdict, then say so."""
        at = _SLOTS_AT + slot * SLOT_BYTES
        has_score, score = (False, 0.0) if answer.score is None else (True, answer.score)
        numbers = (answer.context, answer.verdict, answer.reason, has_score, score, answer.latency_us)
        raw = _ANSWER.pack(*numbers, *_pack_texts(answer.texts))
        self._memory[at + _ANSWER_AT - _CRC.size : at + _ANSWER_AT + _ANSWER.size] = _CRC.pack(zlib.crc32(raw)) + raw
        self._memory[at] = ANSWERED

    def number(self, slot: int, n: int, number: int) -> None:
        """Note the source's number of trigger `n`, with which it stands: what an earlier trigger left is another's."""
        at, raw = _SLOTS_AT + slot * SLOT_BYTES + _NUMBER_AT, _NUMBER.pack(n, number)
        self._memory[at - _CRC.size : at + _NUMBER.size] = _CRC.pack(zlib.crc32(raw)) + raw

    def free(self, slot: int) -> None:
        """Let the slot be taken again."""
        self._memory[_SLOTS_AT + slot * SLOT_BYTES] = FREE

    def contexts_of(self, slot: int) -> tuple[int, ...]:
        """The contexts that an occupied slot points to."""
        at = _SLOTS_AT + slot * SLOT_BYTES
        taken: int = _TAKEN.unpack_from(self._memory, at + _TAKEN_AT)[3]
        answered: int = _ANSWER.unpack_from(self._memory, at + _ANSWER_AT)[0]
        return (taken, answered) if self._memory[at] == ANSWERED else (taken,)

    def occupied(self) -> Iterator[tuple[int, Content | None]]:
        """Each occupied slot with its content; None where that is torn."""
        for slot in range(self._count):
            if self._memory[_SLOTS_AT + slot * SLOT_BYTES] != FREE:
                yield slot, self._content(_SLOTS_AT + slot * SLOT_BYTES)

    def _content(self, at: int) -> Content | None:
        taken = self._checked(at + _TAKEN_AT, _TAKEN)
        if taken is None:
            return None
        n, at_us, mono_us, context, *lengths, raw = _TAKEN.unpack(taken)
        texts = _unpack_texts(lengths, raw)
        answer = self._checked(at + _ANSWER_AT, _ANSWER) if self._memory[at] == ANSWERED else None
        said = None if answer is None else _answer(answer)
        return Content(n, at_us, mono_us, context, texts, said, self._number(at, n))

    def _number(self, at: int, n: int) -> int | None:
        raw = self._checked(at + _NUMBER_AT, _NUMBER)
        of, number = (0, 0) if raw is None else _NUMBER.unpack(raw)
        return number if of == n else None

    def _checked(self, at: int, form: struct.Struct) -> bytes | None:
        raw = self._memory[at : at + form.size]
        (crc,) = _CRC.unpack_from(self._memory, at - _CRC.size)
        return raw if zlib.crc32(raw) == crc else None


def _answer(raw: bytes) -> Answer:
    context, verdict, reason, has_score, score, latency_us, *lengths, texts = _ANSWER.unpack(raw)
    known = score if has_score else None
    return Answer(context, verdict, reason, known, latency_us, _unpack_texts(lengths, texts))
