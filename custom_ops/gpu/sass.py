"""Count the instructions that a CUDA kernel issues, from its machine code and without a GPU.

A kernel's addresses, indices and loops depend on its parameters alone, not on the numbers in its tensors. So this
module executes the integer part of the machine code (SASS, as printed by `cuobjdump -sass`), one warp at a time, and
everything that comes from memory or floating-point arithmetic is "unknown" (None). The result is the exact number of
times that each instruction is issued, the bank conflicts of shared memory and the sectors of global memory. A branch on
an unknown value falls through and is counted in `Counts.unknown_branches`, which must stay small for the counts to be
meaningful.

Not modeled: time, caches, and values in shared memory. Written for compute capability 8.0 to 9.0.
"""

# ruff: noqa: N802  methods are named after opcodes

from __future__ import annotations

import dataclasses
import functools
import re
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LANES = 32
ALL = (1 << LANES) - 1
WORD = (1 << 32) - 1
LONG = (1 << 64) - 1
SIGN = 1 << 31

# A number in a register: the same in all lanes (int), one per lane (uint64 [32]), or unknown. Predicates likewise.
Value = Any
Getter = Callable[["Warp"], Value]
Step = Callable[["Warp", NDArray[np.bool_] | None], None]


class UnsupportedError(Exception):
    """An instruction that this module cannot execute."""


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a listing."""

    address: int
    guard: str  # "@!P0" as "!P0"; empty without one
    opcode: str  # with modifiers: IMAD.WIDE.U32
    operands: tuple[str, ...]

    @property
    def base(self) -> str:
        return self.opcode.split(".")[0]

    @property
    def label(self) -> str:
        """The opcode; MOV for products of zeros, with which the compiler moves constants."""
        if self.base == "HFMA2" and all(a.lstrip("-") == "RZ" for a in self.operands[1:3]):
            return "MOV"
        return self.opcode

    @property
    def modifiers(self) -> list[str]:
        return self.opcode.split(".")[1:]


_LINE = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@(!?U?P[0-9T]+)\s+)?([A-Z][\w.]*)\s*([^;]*);")


def parse(listing: str) -> dict[str, list[Instruction]]:
    """Return the instructions of each function of a listing by `cuobjdump -sass`."""
    functions: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for line in listing.splitlines():
        if "Function :" in line:
            current = functions.setdefault(line.split(":", 1)[1].strip(), [])
        elif match := _LINE.match(line):
            operands = tuple(o.strip().replace(".reuse", "") for o in match[4].split(",") if o.strip())
            current.append(Instruction(int(match[1], 16), match[2] or "", match[3], operands))
    return functions


# Kinds of instructions, by the pipe that executes them. Rates are warp instructions per clock of one of the four
# schedulers of a multiprocessor of compute capability 9.0.
KINDS: dict[str, tuple[str, ...]] = {
    "multiply": ("FFMA", "FMUL", "HFMA2", "HMUL2"),
    "add": ("FADD", "HADD2"),
    "tensor": ("HMMA", "IMMA", "HGMMA"),
    "imad": ("IMAD", "IDP"),
    "convert": ("F2F", "F2FP", "F2I", "I2F", "I2FP", "FRND", "MUFU", "POPC", "FLO", "BREV"),
    "shared": ("LDS", "STS", "LDSM", "STSM", "ATOMS", "SHFL", "MOVM"),
    "global": ("LDG", "STG", "LDGSTS", "LD", "ST", "RED", "ATOMG", "UBLKCP", "UTMALDG", "UTMASTG"),
    "local": ("LDL", "STL"),
    "constant": ("LDC", "ULDC", "LDCU"),
    "control": (
        "BRA", "BRX", "BSSY", "BSYNC", "BREAK", "CALL", "RET", "EXIT", "NOP", "WARPSYNC", "BAR", "BMOV", "DEPBAR",
        "LDGDEPBAR", "MEMBAR", "ERRBAR", "FENCE", "SYNCS", "ENDCOLLECTIVE", "YIELD", "NANOSLEEP", "ACQBULK", "CCTL",
    ),
}  # fmt: skip
_KIND_OF = {base: kind for kind, bases in KINDS.items() for base in bases}


def kind_of(opcode: str) -> str:
    """Return the key of KINDS for an opcode; "integer" for everything else (integer, logic, comparisons, moves)."""
    if opcode.startswith("HADD2.F32"):
        return "convert"  # from float16 to float32
    return _KIND_OF.get(opcode.split(".")[0], "integer")


@dataclasses.dataclass
class Counts:
    """Executed warp instructions, and the cost of their memory accesses."""

    opcodes: Counter[str] = dataclasses.field(default_factory=Counter)
    shared_wavefronts: int = 0  # of loads and stores: one per clock of a multiprocessor
    ideal_wavefronts: int = 0  # the same without bank conflicts
    shared_stores: int = 0
    shared_store_conflicts: int = 0
    global_sectors: int = 0  # of 32 bytes
    unknown_branches: int = 0
    warps: int = 0

    def add(self, other: Counts) -> None:
        self.opcodes.update(other.opcodes)
        for field in dataclasses.fields(self)[1:]:
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def instructions(self) -> int:
        return self.opcodes.total()

    def kinds(self) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for opcode, count in self.opcodes.items():
            totals[kind_of(opcode)] += count
        return dict(totals)


@functools.lru_cache(maxsize=4096)
def _lanes(mask: int) -> NDArray[np.bool_]:
    return np.array([mask >> lane & 1 for lane in range(LANES)], bool)


def _mask(flags: Value, within: int) -> int:
    """Return the lanes of `within` in which a predicate holds."""
    if isinstance(flags, np.ndarray):
        return int(np.packbits(flags, bitorder="little").view(np.uint32)[0]) & within
    return within if flags else 0


@dataclasses.dataclass(frozen=True)
class Launch:
    """The parts of a launch that a warp can read."""

    constants: bytes  # bank 0, with block and grid sizes and the parameters
    grid: tuple[int, int, int]
    block: tuple[int, int, int]

    @classmethod
    def create(
        cls, grid: tuple[int, int, int], block: tuple[int, int, int], parameters: bytes, offset: int = 0x210
    ) -> Launch:
        """Lay out the constant bank: sizes at 0, parameters at `offset`."""
        head = struct.pack("<6I", *block, *grid)
        return cls(head.ljust(offset, b"\0") + parameters, grid, block)


class Warp:
    """The registers of a warp."""

    def __init__(self, launch: Launch, block: tuple[int, int, int], index: int) -> None:
        self.launch = launch
        threads = np.arange(index * LANES, (index + 1) * LANES, dtype=np.uint64)
        width, height = launch.block[:2]
        self.special: dict[str, Value] = {
            "SR_TID.X": threads % width,
            "SR_TID.Y": threads // width % height,
            "SR_TID.Z": threads // (width * height),
            "SR_LANEID": np.arange(LANES, dtype=np.uint64),
            "SR_CTAID.X": block[0],
            "SR_CTAID.Y": block[1],
            "SR_CTAID.Z": block[2],
            "SR_CgaCtaId": 0,
            "SRZ": 0,
        }
        self.local: dict[int, Value] = {}  # spilled registers, by address
        self.registers: dict[str, Value] = {"RZ": 0, "URZ": 0, "PT": True, "UPT": True}
        self.counts = Counts(warps=1)
        self.active = ALL

    def get(self, name: str) -> Value:
        return self.registers.get(name, 0)

    def put(self, name: str, value: Value, where: NDArray[np.bool_] | None) -> None:
        """Assign in the lanes of `where`; None means all lanes."""
        if name not in ("RZ", "URZ", "PT", "UPT"):
            self.registers[name] = self.merged(self.registers.get(name, 0), value, where)

    @staticmethod
    def merged(old: Value, value: Value, where: NDArray[np.bool_] | None) -> Value:
        """Return `value` in the lanes of `where` (None: all lanes) and `old` in others. Unknown old values become 0."""
        if where is None or value is None:
            return value
        kind = np.bool_ if np.asarray(value).dtype == np.bool_ else np.uint64
        return np.where(where, np.asarray(value, kind), np.asarray(0 if old is None else old, kind))


def following(name: str, distance: int) -> str:
    """Return the register `distance` places after `name`."""
    if name in ("RZ", "URZ"):
        return name
    prefix, number = re.fullmatch(r"(U?R)(\d+)", name).groups()  # type: ignore[union-attr]
    return f"{prefix}{int(number) + distance}"


_NUMBER = re.compile(r"-?0x[0-9a-f]+")
_REGISTER = re.compile(r"U?R(\d+|Z)")
_CONSTANT = re.compile(r"c\[0x0\]\[(?:(U?R(?:\d+|Z))\+?)?(-?0x[0-9a-f]+)?\]")


def _constant(warp: Warp, offset: Value) -> Value:
    """Return a word of the constant bank 0."""
    if offset is None:
        return None
    bank = warp.launch.constants
    if isinstance(offset, np.ndarray):
        return np.array([int.from_bytes(bank[int(o) : int(o) + 4], "little") for o in offset], np.uint64)
    return int.from_bytes(bank[offset : offset + 4], "little")


def plain(text: str) -> Getter:
    """Return the getter of an operand without its sign: a register, number, constant or special number."""
    if _NUMBER.fullmatch(text):
        number = int(text, 16) & WORD
        return lambda warp: number
    if match := _CONSTANT.fullmatch(text):
        base, offset = match[1], int(match[2] or "0", 16)
        if base is None:
            return lambda warp: _constant(warp, offset)

        def indexed(warp: Warp) -> Value:
            index = warp.get(base)
            return None if index is None else _constant(warp, (index + offset) & WORD)

        return indexed
    if _REGISTER.fullmatch(text):
        return lambda warp: warp.registers.get(text, 0)
    return lambda warp: None  # a floating-point number, half a register, another bank


def operand(text: str) -> Getter:
    """Return the getter of an integer operand. A negated one is 2^32 - x, so that carries are right."""
    if text.startswith("-") and not _NUMBER.fullmatch(text):
        get = plain(text[1:])
        return lambda warp: None if (x := get(warp)) is None else (1 << 32) - x
    if text.startswith("~"):
        get = plain(text[1:])
        return lambda warp: None if (x := get(warp)) is None else x ^ WORD
    return plain(text)


def predicate(text: str) -> Getter:
    """Return the getter of a predicate."""
    name = text.lstrip("!")
    if not text.startswith("!"):
        return lambda warp: warp.registers.get(name, False)

    def negated(warp: Warp) -> Value:
        value = warp.registers.get(name, False)
        return None if value is None else np.logical_not(value) if isinstance(value, np.ndarray) else not value

    return negated


def is_predicate(text: str) -> bool:
    """Return true for P0, !PT, UP1, ..."""
    return re.fullmatch(r"!?U?P(\d|T)", text) is not None


def pair(text: str) -> Getter:
    """Return the getter of a 64-bit operand."""
    negative = text.startswith("-") and not _NUMBER.fullmatch(text)
    name = text.lstrip("-")
    if _REGISTER.fullmatch(name):
        low, high = plain(name), plain(following(name, 1))
    elif match := re.fullmatch(r"c\[0x0\]\[(0x[0-9a-f]+)\]", name):
        low, high = plain(name), plain(f"c[0x0][{int(match[1], 16) + 4:#x}]")
    else:
        low, high = plain(name), plain("RZ")

    def get(warp: Warp) -> Value:
        a, b = low(warp), high(warp)
        if a is None or b is None:
            return None
        value = a | b << 32
        return (-value if isinstance(value, int) else np.negative(value)) & LONG if negative else value

    return get


def signed(x: Value) -> Value:
    """Extend a 32-bit number to 64 bits."""
    return ((x ^ SIGN) - SIGN) & LONG if isinstance(x, int) else (x ^ np.uint64(SIGN)) - np.uint64(SIGN)


def flag(x: Value) -> Value:
    """Return a predicate as 0 or 1."""
    return x.astype(np.uint64) if isinstance(x, np.ndarray) else int(x)


def shift_right(x: Value, by: Value) -> Value:
    """Shift a 32-bit number arithmetically."""
    by = np.minimum(by, 31) if isinstance(by, np.ndarray) else min(by, 31)
    return (x >> by) | ((x >> 31) * (WORD ^ (WORD >> by)))


def both(f: Callable[..., Value], *values: Value) -> Value:
    """Return f(*values), or unknown if any value is unknown."""
    return None if any(v is None for v in values) else f(*values)


def logic(table: int, a: Value, b: Value, c: Value) -> Value:
    """Return the bits that a truth table gives: bit (a b c) of `table`."""
    shortcuts: dict[int, Callable[[], Value]] = {
        0xC0: lambda: a & b,
        0xFC: lambda: a | b,
        0x3C: lambda: a ^ b,
        0x33: lambda: b ^ WORD,
        0x0F: lambda: a ^ WORD,
    }
    if table in shortcuts:
        return shortcuts[table]()
    result: Value = 0
    for row in range(8):
        if table >> row & 1:
            term = (a if row & 4 else a ^ WORD) & (b if row & 2 else b ^ WORD) & (c if row & 1 else c ^ WORD)
            result = result | term
    return result


_COMPARE: dict[str, Callable[[Value, Value], Value]] = {
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b,
    "EQ": lambda a, b: a == b,
    "NE": lambda a, b: a != b,
}
_COMBINE: dict[str, Callable[[Value, Value], Value]] = {
    "AND": lambda a, b: a & b,
    "OR": lambda a, b: a | b,
    "XOR": lambda a, b: a ^ b,
}


def combine(how: str, a: Value, b: Value) -> Value:
    """Return a AND b, a OR b, ... of predicates; known if either side alone decides it."""
    deciding = {"AND": False, "OR": True}.get(how)
    if a is None or b is None:
        known = b if a is None else a
        return deciding if isinstance(known, bool) and known == deciding else None
    return _COMBINE[how](a, b)


def _bits_to_float(x: Value) -> NDArray[np.float32]:
    return np.asarray(x, np.uint64).astype(np.uint32).view(np.float32)


def _float_to_bits(x: NDArray[np.float32]) -> Value:
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    return int(bits) if bits.ndim == 0 else bits


def _round_up(x: Value) -> NDArray[np.float32]:
    exact = np.asarray(x, np.float64)
    rounded = exact.astype(np.float32)
    return np.where(rounded < exact, np.nextafter(rounded, np.float32(np.inf)), rounded).astype(np.float32)


def _half(text: str) -> int | None:
    try:
        return int(np.float16(float(text)).view(np.uint16))
    except ValueError:
        return None


class _Decoder:
    """Makes the steps of instructions. Each method is named after an opcode, without modifiers and the U of scalars."""

    def __init__(self, instruction: Instruction) -> None:
        self.instruction = instruction
        self.args = list(instruction.operands)
        self.has = set(instruction.modifiers).__contains__

    def carries(self) -> list[str]:
        """Remove and return the predicates after the first operand, which are outgoing carries."""
        result = []
        while len(self.args) > 1 and is_predicate(self.args[1]):
            result.append(self.args.pop(1))
        return result

    def incoming(self) -> list[Getter]:
        """Remove and return the last predicates, which are incoming carries."""
        result = []
        while is_predicate(self.args[-1]):
            result.append(predicate(self.args.pop()))
        return result[::-1]

    def compute(self, f: Callable[..., Value], *getters: Getter, pair: bool = False, out: list[str] = []) -> Step:  # noqa: B006
        """Return the step that assigns f's low 32 (or 64) bits to the first operand, and the bits above to `out`."""
        target = self.args[0]
        high_target = following(target, 1) if pair else ""
        bits = 64 if pair else 32

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            values = [get(warp) for get in getters]
            result = None
            for value in values:
                if value is None:
                    break
            else:
                result = f(*values)
            if pair:
                warp.put(target, None if result is None else result & WORD, where)
                warp.put(high_target, None if result is None else (result >> 32) & WORD, where)
            else:
                warp.put(target, None if result is None else result & WORD, where)
            for i, name in enumerate(out):
                warp.put(name, None if result is None else (result >> bits) > i, where)

        return step

    def unknown(self, registers: int = 1) -> Step:
        names = [following(self.args[0], i) for i in range(registers)]

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            for name in names:
                warp.put(name, None, where)

        return step

    # moves

    def MOV(self) -> Step:
        return self.compute(lambda x: x, operand(self.args[1]))

    R2UR = UMOV = MOV

    def S2R(self) -> Step:
        name = self.args[1]
        return self.compute(lambda x: x, lambda warp: warp.special.get(name))

    S2UR = S2R

    def CS2R(self) -> Step:
        name = self.args[1]
        return self.compute(lambda x: x, lambda warp: warp.special.get(name), pair=not self.has("32"))

    def LDC(self) -> Step:
        if self.has("64"):
            return self.compute(lambda x: x, pair(self.args[1]), pair=True)
        mask = 0xFF if self.has("U8") else 0xFFFF if self.has("U16") else WORD
        if self.has("S8") or self.has("S16"):
            raise UnsupportedError(self.instruction)
        return self.compute(lambda x: x & mask, operand(self.args[1]))

    def SEL(self) -> Step:
        a, b, choice = operand(self.args[1]), operand(self.args[2]), predicate(self.args[3])

        def f(a: Value, b: Value, p: Value) -> Value:
            if isinstance(p, np.ndarray):
                return np.where(p, np.asarray(a, np.uint64), np.asarray(b, np.uint64))
            return a if p else b

        return self.compute(f, a, b, choice)

    def FSEL(self) -> Step:
        return self.SEL() if all(_REGISTER.fullmatch(a) for a in self.args[1:3]) else self.unknown()

    def PRMT(self) -> Step:
        def f(a: Value, selector: Value, b: Value) -> Value:
            source, result = a | b << 32, 0
            for byte in range(4):
                choice = selector >> (4 * byte)
                picked = (source >> ((choice & 7) * 8)) & 0xFF
                replicated = ((picked >> 7) & 1) * 0xFF
                sign = (choice >> 3) & 1
                result = result | (picked * (1 - sign) + replicated * sign) << (8 * byte)
            return result

        a, selector, b = self.args[1:4]
        digits = [int(selector, 16) >> 4 * i & 7 for i in range(4)] if _NUMBER.fullmatch(selector) else range(8)
        reads_a, reads_b = any(d < 4 for d in digits), any(d >= 4 for d in digits)
        zero = plain("RZ")
        return self.compute(f, operand(a) if reads_a else zero, operand(selector), operand(b) if reads_b else zero)

    def P2R(self) -> Step:
        mask = operand(self.args[3])
        names = [f"P{i}" for i in range(7)]

        def f(old: Value, mask: Value, *flags: Value) -> Value:
            bits: Value = 0
            for i, value in enumerate(flags):
                bits = bits | flag(value) << i
            return (old & (mask ^ WORD)) | (bits & mask)

        def relevant(i: int) -> Getter:
            get = predicate(names[i])
            return lambda warp: get(warp) if (mask(warp) or 0) >> i & 1 else False

        return self.compute(f, operand(self.args[2]), mask, *(relevant(i) for i in range(7)))

    def R2P(self) -> Step:
        source, mask = operand(self.args[1]), int(self.args[2], 16)

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            bits = source(warp)
            for i in range(7):
                if mask >> i & 1:
                    warp.put(f"P{i}", None if bits is None else (bits >> i & 1) != 0, where)

        return step

    # integers

    def IADD3(self) -> Step:
        out, incoming = self.carries(), self.incoming()
        terms = [operand(a) for a in self.args[1:]]
        flags = [lambda warp, get=get: both(flag, get(warp)) for get in incoming]
        return self.compute(lambda *values: sum(values[1:], start=values[0]), *terms, *flags, out=out)

    VIADD = IADD3
    IADD = IADD3

    def IMAD(self) -> Step:
        out, incoming = self.carries(), self.incoming()
        flags = [lambda warp, get=get: both(flag, get(warp)) for get in incoming]
        wide, high, unsigned = self.has("WIDE"), self.has("HI"), self.has("U32")
        a, b = operand(self.args[1]), operand(self.args[2])
        c = pair(self.args[3]) if wide or high else operand(self.args[3])

        def f(a: Value, b: Value, c: Value, *carries: Value) -> Value:
            if not wide and not high:
                return (a * b + c + sum(carries)) & WORD
            if not unsigned:
                a, b = signed(a & WORD), signed(b & WORD)
            product = (a * b) & LONG
            total = (product + c + sum(carries)) & LONG
            return total >> 32 if high else total

        step = self.compute(f, a, b, c, *flags, pair=wide)
        if not out:
            return step
        if not wide and not high:
            raise UnsupportedError(self.instruction)

        def carry(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            values = [get(warp) for get in (a, b, c)]
            known = all(v is not None for v in values)
            warp.put(out[0], wide_carry(*values) if known else None, where)

        def after(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            carry(warp, where)  # first, because the result may replace an operand
            step(warp, where)

        return after

    def LEA(self) -> Step:
        out, incoming = self.carries(), self.incoming()
        flags = [lambda warp, get=get: both(flag, get(warp)) for get in incoming]
        shift = int(self.args[-1], 16)
        a, b = operand(self.args[1]), operand(self.args[2])
        if not self.has("HI"):
            return self.compute(lambda a, b, *f: ((a << shift) & WORD) + b + sum(f), a, b, *flags, out=out)
        if self.has("SX32"):

            def sign_extended(a: Value, b: Value, *f: Value) -> Value:
                return (((signed(a & WORD) << shift) & LONG) >> 32) + b + sum(f)

            return self.compute(sign_extended, a, b, *flags, out=out)
        high = operand(self.args[3])
        return self.compute(
            lambda a, b, c, *f: (((a & WORD | c << 32) << shift & LONG) >> 32) + b + sum(f), a, b, high, *flags, out=out
        )

    def SHF(self) -> Step:
        low, by, high = operand(self.args[1]), operand(self.args[2]), operand(self.args[3])
        left, takes_high = self.has("L"), self.has("HI")
        arithmetic = self.has("S32") or self.has("S64")
        wide = self.has("U64") or self.has("S64")

        def f(a: Value, n: Value, c: Value) -> Value:
            limit = 63 if wide else 32
            n = np.minimum(n, limit) if isinstance(n, np.ndarray) else min(n, limit)
            if left:
                return ((a | c << 32) << n & LONG) >> 32 if takes_high else (a << n) & WORD
            if takes_high:
                return shift_right(c, n) if arithmetic else c >> n
            if arithmetic and isinstance(n, int) and n <= 32:
                return (((a | c << 32) >> n) & WORD) if n < 32 else c
            return ((a | c << 32) >> n) & WORD

        return self.compute(f, low, by, high)

    def LOP3(self) -> Step:
        out = [self.args.pop(0)] if is_predicate(self.args[0]) else []
        self.incoming()
        table = int(self.args[4], 16)
        getters = [operand(a) for a in self.args[1:4]]
        # An operand is read only if it changes some row of the truth table.
        reads = [any((table >> row & 1) != (table >> (row ^ bit) & 1) for row in range(8)) for bit in (4, 2, 1)]
        zero = plain("RZ")
        used = [get if reading else zero for get, reading in zip(getters, reads, strict=True)]
        step = self.compute(lambda a, b, c: logic(table, a, b, c), *used)
        if not out:
            return step

        def with_predicate(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            values = [get(warp) for get in used]
            known = all(v is not None for v in values)
            result = (logic(table, *values) & WORD) != 0 if known else None
            step(warp, where)
            warp.put(out[0], result, where)

        return with_predicate

    LOP = LOP3

    def PLOP3(self) -> Step:
        targets = self.args[:2]
        sources = [predicate(a) for a in self.args[2:5]]
        tables = [int(a, 16) for a in self.args[5:7]]

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            values = [get(warp) for get in sources]
            for name, table in zip(targets, tables, strict=True):
                warp.put(name, _plop(table, values), where)

        return step

    def ISETP(self) -> Step:
        m = self.instruction.modifiers
        compare, how = _COMPARE[m[0]], next(x for x in m if x in _COMBINE)
        unsigned, extended, name = self.has("U32"), self.has("EX"), m[0]
        a, b, gate = operand(self.args[2]), operand(self.args[3]), predicate(self.args[4])
        lower = predicate(self.args[5]) if extended else None
        targets = self.args[:2]

        def result(warp: Warp) -> Value:
            x, y = a(warp), b(warp)
            if x is None or y is None:
                return None
            x, y = x & WORD, y & WORD
            if not unsigned:
                x, y = x ^ SIGN, y ^ SIGN
            if lower is None:
                return compare(x, y)
            low = lower(warp)
            if low is None:
                return None
            if name == "NE":
                return (x != y) | low
            if name == "EQ":
                return (x == y) & low
            strict = x < y if name in ("LT", "LE") else x > y
            return strict | ((x == y) & low)

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            value, gated = result(warp), gate(warp)
            inverse = None if value is None else np.logical_not(value) if isinstance(value, np.ndarray) else not value
            warp.put(targets[0], combine(how, value, gated), where)
            warp.put(targets[1], combine(how, inverse, gated), where)

        return step

    def VIMNMX(self) -> Step:
        bias = 0 if self.has("U32") else SIGN
        pick = predicate(self.args[-1])

        def f(a: Value, b: Value, least: Value) -> Value:
            a, b = (a & WORD) ^ bias, (b & WORD) ^ bias
            if isinstance(least, np.ndarray):
                return np.asarray(np.where(least, np.minimum(a, b), np.maximum(a, b)), np.uint64) ^ np.uint64(bias)
            if isinstance(a, int) and isinstance(b, int):
                return (min(a, b) if least else max(a, b)) ^ bias
            a, b = np.asarray(a, np.uint64), np.asarray(b, np.uint64)
            return (np.minimum(a, b) if least else np.maximum(a, b)) ^ np.uint64(bias)

        if self.instruction.base.endswith("VIADDMNMX"):
            return self.compute(lambda a, b, c, least: f(a + b, c, least), *(operand(x) for x in self.args[1:4]), pick)
        return self.compute(f, operand(self.args[1]), operand(self.args[2]), pick)

    IMNMX = VIADDMNMX = VIMNMX

    def IABS(self) -> Step:
        return self.compute(lambda x: x - 2 * (x >> 31) * x, operand(self.args[1]))

    # the few conversions that integer division consists of

    def I2F(self) -> Step:
        if self.has("U64"):
            return self.compute(lambda x: _float_to_bits(_round_up(x)), pair(self.args[1]))
        unsigned = self.has("U32")

        def f(x: Value) -> Value:
            if not unsigned:
                x = np.asarray(signed(x), np.uint64).view(np.int64)
            return _float_to_bits(_round_up(x))

        return self.compute(f, operand(self.args[1]))

    def F2I(self) -> Step:
        wide = self.has("U64")
        if not self.has("TRUNC") or not (wide or self.has("U32")):
            return self.unknown()
        most = float(2**64 - 2**40) if wide else float(WORD)

        def f(x: Value) -> Value:
            value = np.clip(np.nan_to_num(_bits_to_float(x).astype(np.float64)), 0, most).astype(np.uint64)
            return int(value) if value.ndim == 0 else value

        return self.compute(f, operand(self.args[1]), pair=wide)

    def MUFU(self) -> Step:
        if not self.has("RCP"):
            return self.unknown()

        def f(x: Value) -> Value:
            with np.errstate(all="ignore"):
                return _float_to_bits(np.float32(1) / _bits_to_float(x))

        return self.compute(f, operand(self.args[1]))

    def HFMA2(self) -> Step:
        """Return a step that evaluates 0 * 0 + constant, with which the compiler loads constants."""
        zeros = all(a.lstrip("-") == "RZ" for a in self.args[1:3])
        halves = [_half(a) for a in self.args[3:5]]
        if not zeros or len(halves) != 2 or None in halves:
            return self.unknown()
        high, low = halves
        return self.compute(lambda: (high or 0) << 16 | (low or 0))

    # memory

    def load(self) -> Step:
        return self.unknown(4 if self.has("128") else 2 if self.has("64") else 1)

    def LDSM(self) -> Step:
        return self.unknown(4 if self.has("4") else 2 if self.has("2") else 1)

    LDS = LDG = LD = ATOMS = load

    def words(self) -> range:
        """Return the indices of the words that an access to local memory moves."""
        return range(4 if self.has("128") else 2 if self.has("64") else 1)

    def local_address(self, operand: str) -> Getter:
        """Return the getter of the address of an access to local memory."""
        if (address := _address(operand)) is None:
            raise UnsupportedError(f"{self.instruction.address:#x}: {operand!r} is not an address")
        return address

    def LDL(self) -> Step:
        names = [following(self.args[0], i) for i in self.words()]
        address = self.local_address(self.args[1])

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            at = address(warp)
            for i, name in enumerate(names):
                warp.put(name, warp.local.get(at + 4 * i) if isinstance(at, int) else None, where)

        return step

    def STL(self) -> Step:
        values = [plain(following(self.args[1], i)) for i in self.words()]
        address = self.local_address(self.args[0])

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            at = address(warp)
            if not isinstance(at, int):
                raise UnsupportedError(f"{self.instruction.address:#x}: an array in local memory")
            for i, get in enumerate(values):
                warp.local[at + 4 * i] = warp.merged(warp.local.get(at + 4 * i), get(warp), where)

        return step

    def nothing(self) -> Step:
        return lambda warp, where: None

    # predicates and data

    def FSETP(self) -> Step:
        names = self.args[:2]

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            for name in names:
                warp.put(name, None, where)

        return step

    HSETP2 = DSETP = FSETP

    def VOTE(self) -> Step:
        names = [a for a in self.args[:2] if not a.startswith("!")]

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            for name in names:
                warp.put(name, None, where)

        return step

    def VOTEU(self) -> Step:
        name, source, agree = self.args[0], predicate(self.args[-1]), np.all if self.has("ALL") else np.any

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            value = source(warp)
            lanes = slice(None) if where is None or np.ndim(value) == 0 else where
            known = value is not None and name.startswith("UP")
            warp.put(name, bool(agree(np.asarray(value)[lanes] if np.ndim(value) else value)) if known else None, where)

        return step

    def SHFL(self) -> Step:
        valid, name, source, lane = self.args[0], self.args[1], plain(self.args[2]), plain(self.args[3])

        def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            value, of = source(warp), lane(warp)
            known = self.has("IDX") and value is not None and isinstance(of, int)
            if known and not isinstance(value, int):
                value = int(value[of % LANES])
            warp.put(valid, None, where)
            warp.put(name, value if known else None, where)

        return step

    def HMMA(self) -> Step:
        return self.unknown(4 if self.has("F32") else 2)

    def IMMA(self) -> Step:
        return self.unknown(4 if self.has("16832") else 2)


_DATA = {
    "FADD", "FMUL", "FFMA", "FMNMX", "FSET", "HADD2", "HMUL2", "HMNMX2", "F2F", "F2FP", "HSET2", "FRND", "POPC", "FLO",
    "BREV", "FCHK", "FSWZADD", "MOVM", "REDUX", "I2FP", "SGXT", "BMSK",
}  # fmt: skip
_NO_RESULT = {
    "STS", "STG", "STSM", "ST", "NOP", "WARPSYNC", "BAR", "DEPBAR", "LDGDEPBAR", "LDGSTS", "MEMBAR", "ERRBAR",
    "ENDCOLLECTIVE", "YIELD", "CCTL", "FENCE", "RED", "NANOSLEEP",
}  # fmt: skip
_CONTROL = {"BRA", "BSSY", "BSYNC", "CALL", "RET", "EXIT", "BREAK"}
_SCALAR = re.compile(r"U(?=IADD3|IMAD|LOP3|ISETP|SHF|LEA|SEL|PLOP3|PRMT|LDC|IABS|IMNMX|VIADD|VIMNMX)")


def decode(instruction: Instruction) -> Step | None:
    """Return the step of an instruction, None for control flow."""
    base = _SCALAR.sub("", instruction.base)
    if base in _CONTROL:
        return None
    decoder = _Decoder(instruction)
    if base == "LDCU":
        base = "LDC"
    if base in _NO_RESULT:
        return decoder.nothing()
    if base in _DATA:
        return decoder.unknown()
    method = getattr(decoder, base, None)
    if method is None:
        raise UnsupportedError(f"{instruction.address:#x}: {instruction.opcode} {', '.join(instruction.operands)}")
    step: Step = method()
    return step


def _plop(table: int, values: list[Value]) -> Value:
    reads = [any((table >> row & 1) != (table >> (row ^ bit) & 1) for row in range(8)) for bit in (4, 2, 1)]
    used = [v if reading else False for v, reading in zip(values, reads, strict=True)]
    if any(v is None for v in used):
        return None
    index = sum((flag(v) * bit for v, bit in zip(used, (4, 2, 1), strict=True)), start=0)
    result = (table >> index if isinstance(index, int) else np.uint64(table) >> index) & 1
    return bool(result) if isinstance(result, int) else result != 0


def wide_carry(a: Value, b: Value, c: Value) -> Value:
    """Return the carry of an unsigned a * b + c."""
    if all(isinstance(v, int) for v in (a, b, c)):
        return a * b + c > LONG
    product = np.asarray(a, np.uint64) * np.asarray(b, np.uint64)
    return product + np.asarray(c, np.uint64) < product


_ADDRESS = re.compile(r"\[(.*)\]$")


def _address(text: str) -> Getter | None:
    """Return the getter of [R76+UR14+0x100] or desc[UR8][R22.64+0x4]: 32 bits, or 64 with a 64-bit register."""
    match = re.search(r"\[([^\[\]]*)\]$", text)
    if match is None:
        return None
    getters: list[Getter] = []
    for part in match[1].replace("+-", "-").replace("-0x", "+-0x").split("+"):
        if not part:
            continue
        name = part.split(".")[0]
        number = int(name, 16) if _NUMBER.fullmatch(name) else None
        scale = re.search(r"\.X(\d+)$", part)
        if number is not None:
            getters.append(lambda warp, number=number: number)  # type: ignore[misc]
        elif part.endswith(".64"):
            getters.append(pair(name))
        elif scale:
            get, factor = plain(name), int(scale[1])
            getters.append(lambda warp, get=get, factor=factor: both(lambda x: x * factor, get(warp)))  # type: ignore[misc]
        else:
            getters.append(plain(name))

    def total(warp: Warp) -> Value:
        values = [get(warp) for get in getters]
        if any(v is None for v in values):
            return None
        result: Value = 0
        for value in values:
            result = result + value if isinstance(value, int) and value >= 0 else _add(result, value)
        return result

    return total


def _add(a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        return (a + b) & LONG
    return (a & LONG if isinstance(a, int) else a) + (np.uint64(b & LONG) if isinstance(b, int) else b)


def wavefronts(addresses: NDArray[np.uint64], width: int) -> tuple[int, int]:
    """Return the clocks that shared memory needs for the addresses of active lanes, and the least possible.

    There are 32 banks of 4 bytes. Accesses of 8 bytes take two halves of a warp, and of 16 bytes four quarters, unless
    the lanes need fewer words.
    """
    return _wavefronts(addresses.tobytes(), width)


@functools.lru_cache(maxsize=100_000)
def _wavefronts(packed: bytes, width: int) -> tuple[int, int]:
    addresses = np.frombuffer(packed, np.uint64)
    group = {8: 16, 16: 8}.get(width, LANES)
    total = least = 0
    for start in range(0, len(addresses), group):
        part = addresses[start : start + group]
        words = np.unique((part[:, None] // 4 + np.arange(max(width // 4, 1), dtype=np.uint64)).ravel())
        total += int(np.bincount((words % 32).astype(np.int64)).max())
        least += -(-len(words) // 32)
    return total, least


def _width(instruction: Instruction) -> int:
    m = set(instruction.modifiers)
    if "128" in m:
        return 16
    if "64" in m:
        return 8
    return 2 if m & {"U16", "S16", "16"} else 1 if m & {"U8", "S8", "8"} else 4


_SHARED_ACCESS = {"LDS", "STS", "LDSM", "STSM"}
_GLOBAL_ACCESS = {"LDG", "STG"}


def observe(instruction: Instruction) -> Step | None:
    """Return the step that counts the cost of a memory access; None for other instructions."""
    base = instruction.base
    addresses = [a for o in instruction.operands if (a := _address(o)) is not None]
    if base == "LDGSTS":  # copies from its second address to its first
        shared, source = _observe("STS", addresses[0], instruction), _observe("LDG", addresses[1], instruction)

        def both_sides(warp: Warp, where: NDArray[np.bool_] | None) -> None:
            shared(warp, where)
            source(warp, where)

        return both_sides
    if base not in _SHARED_ACCESS | _GLOBAL_ACCESS:
        return None
    return _observe(base, addresses[0], instruction)


def _observe(base: str, address: Getter, instruction: Instruction) -> Step:
    store = base in ("STS", "STSM")
    matrices = 0
    if base in ("LDSM", "STSM"):
        matrices = next((int(m) for m in instruction.modifiers if m in "124"), 1)
    width = 16 if matrices else _width(instruction)

    def step(warp: Warp, where: NDArray[np.bool_] | None) -> None:
        at = address(warp)
        counts = warp.counts
        lanes = None if where is None else where
        if at is None:
            raise UnsupportedError(f"{instruction.address:#x}: an address depends on data")
        at = np.broadcast_to(np.asarray(at, np.uint64), (LANES,))
        if base in _GLOBAL_ACCESS:
            used = at if lanes is None else at[lanes]
            sectors = np.unique((used[:, None] + np.arange(0, width, min(width, 32), dtype=np.uint64)) // 32)
            counts.global_sectors += len(sectors)
            return
        if matrices:
            clocks, least = wavefronts(at[: 8 * matrices], 16)
        else:
            used = (at if lanes is None else at[lanes]) % (1 << 32)
            clocks, least = wavefronts(used, width) if len(used) else (0, 0)
        counts.shared_wavefronts += clocks
        counts.ideal_wavefronts += least
        if store:
            counts.shared_stores += 1
            counts.shared_store_conflicts += clocks - least

    return step


class Program:
    """A kernel that warps can execute."""

    def __init__(self, instructions: list[Instruction]) -> None:
        self.instructions = instructions
        self.index = {instruction.address: i for i, instruction in enumerate(instructions)}
        self._decoded: dict[int, tuple[Getter | None, Step | None, Step | None]] = {}

    def _at(self, i: int) -> tuple[Getter | None, Step | None, Step | None]:
        if i not in self._decoded:
            instruction = self.instructions[i]
            guard = predicate(instruction.guard) if instruction.guard not in ("", "PT") else None
            self._decoded[i] = (guard, decode(instruction), observe(instruction))
        return self._decoded[i]

    def run(self, launch: Launch, block: tuple[int, int, int], warp: int, limit: int = 3_000_000) -> Counts:
        """Execute one warp of one block and return its counts. More than `limit` instructions are an error."""
        return _Execution(self, Warp(launch, block, warp), launch, warp).run(limit)


class _Execution:
    """The control flow of a warp: groups of lanes at different addresses, and where they wait for each other."""

    def __init__(self, program: Program, warp: Warp, launch: Launch, index: int) -> None:
        self.program = program
        self.warp = warp
        threads = launch.block[0] * launch.block[1] * launch.block[2] - index * LANES
        self.live = ALL if threads >= LANES else (1 << threads) - 1
        self.ready: list[tuple[int, int]] = []  # (index of the next instruction, lanes)
        self.waiting: dict[tuple[str, int], int] = {}  # (barrier, its lanes) to those that have arrived
        self.barriers: dict[str, list[int]] = {}  # each lane's set of lanes
        self.resume: dict[tuple[str, int], int] = {}

    def run(self, limit: int) -> Counts:
        executed = [0] * len(self.program.instructions)
        self.ready = [(0, self.live)]
        steps = 0
        while self.ready:
            self.ready.sort()
            at, lanes = self.ready.pop(0)
            while self.ready and self.ready[0][0] == at:
                lanes |= self.ready.pop(0)[1]
            border = self.ready[0][0] if self.ready else len(executed)
            while lanes and at < border:
                steps += 1
                if steps > limit:
                    raise UnsupportedError(f"more than {limit} instructions: a loop that depends on data?")
                executed[at] += 1
                at, lanes = self.execute(at, lanes)
                if self.ready:
                    border = min(group[0] for group in self.ready)
            if lanes:
                self.ready.append((at, lanes))
            self.release()
        for i, count in enumerate(executed):
            if count:
                self.warp.counts.opcodes[self.program.instructions[i].label] += count
        if self.waiting:
            raise UnsupportedError("lanes wait for others that have ended elsewhere")
        return self.warp.counts

    def execute(self, at: int, lanes: int) -> tuple[int, int]:
        """Execute one instruction; return the next one and the lanes that reach it."""
        guard, step, observer = self.program._at(at)
        taken: int | None = lanes
        if guard is not None:
            value = guard(self.warp)
            taken = None if value is None else _mask(value, lanes)
        if step is not None:
            if taken == 0:
                return at + 1, lanes
            active = lanes if taken is None else taken
            where = None if active == ALL else _lanes(active)
            if observer is not None:
                observer(self.warp, where)
            step(self.warp, where)
            return at + 1, lanes
        return self.control(at, lanes, taken)

    def control(self, at: int, lanes: int, taken: int | None) -> tuple[int, int]:
        instruction = self.program.instructions[at]
        base, args = instruction.base, instruction.operands
        if base == "BSSY":
            masks = self.barriers.setdefault(args[0], [0] * LANES)
            for lane in range(LANES):
                if lanes >> lane & 1:
                    masks[lane] = lanes
            return at + 1, lanes
        if base == "BSYNC":
            active = lanes if taken is None else taken
            if not active:
                return at + 1, lanes
            first = (active & -active).bit_length() - 1
            key = (args[0], self.barriers[args[0]][first])
            self.waiting[key] = self.waiting.get(key, 0) | active
            self.resume[key] = at + 1
            return at + 1, lanes & ~active
        if base == "BREAK":
            return self.leave(args[0] if len(args) == 1 else args[-1], lanes if taken is None else taken, at, lanes)
        if base == "EXIT":
            if taken is None:
                self.warp.counts.unknown_branches += 1
                taken = 0
            self.live &= ~taken
            return at + 1, lanes & ~taken
        if base == "BRA" and "DIV" in instruction.modifiers:
            return at + 1, lanes  # taken only if lanes have not converged
        if base == "BRA" and taken is not None and len(args) == 2:
            value = predicate(args[0])(self.warp)
            taken = None if value is None else _mask(value, taken)
        if taken is None:
            self.warp.counts.unknown_branches += 1
            taken = 0
        if not taken:
            return at + 1, lanes
        target = self.target(instruction)
        rest = lanes & ~taken
        if not rest:
            return target, taken
        self.ready.append((target, taken))
        return at + 1, rest

    def leave(self, barrier: str, gone: int, at: int, lanes: int) -> tuple[int, int]:
        masks = self.barriers[barrier]
        for lane in range(LANES):
            masks[lane] &= ~gone
        return at + 1, lanes

    def target(self, instruction: Instruction) -> int:
        if instruction.base == "RET":
            value = self.warp.get(instruction.operands[0].split()[0])
            if isinstance(value, np.ndarray):
                raise UnsupportedError(f"{instruction.address:#x}: lanes return to different places")
        else:
            value = int(instruction.operands[-1], 16)
        if value not in self.program.index:
            raise UnsupportedError(f"{instruction.address:#x}: a branch to {value}")
        return self.program.index[value]

    def release(self) -> None:
        """Release groups whose lanes have all arrived or ended."""
        for key in list(self.waiting):
            if self.waiting[key] & self.live == key[1] & self.live:
                lanes = self.waiting.pop(key) & self.live
                if lanes:
                    self.ready.append((self.resume[key], lanes))
