"""The machine code of loops.sass, whose source stands at its top, and its counts by hand."""

import struct
from pathlib import Path

import numpy as np
import pytest

from custom_ops.gpu import launches, sass

THREADS = 96
LISTING = (Path(__file__).parent / "loops.sass").read_text()


def run(warp: int = 0, n: int = 0, stride: int = 1, a: int = 0, b: int = 1, c: int = 0, d: int = 1) -> sass.Counts:
    """Execute a warp of the first block of the kernel."""
    parameters = struct.pack("<QQiiIIqq", 1 << 40, 2 << 40, n, stride, a, b, c, d)
    launch = sass.Launch.create((5, 1, 1), (THREADS, 1, 1), parameters)
    return sass.Program(sass.parse(LISTING)["loops"]).run(launch, (0, 0, 0), warp)


def execute(text: str) -> sass.Counts:
    """Execute the first warp of a few instructions, one a line."""
    lines = "".join(f"        /*{16 * i:04x}*/  {line} ;\n" for i, line in enumerate(text.strip().splitlines()))
    program = sass.Program(sass.parse(f"Function : f\n{lines}")["f"])
    return program.run(sass.Launch.create((1, 1, 1), (32, 1, 1), b""), (0, 0, 0), 0)


@pytest.mark.parametrize("n", [0, 1, 32, 33, 64, 65, 1000])
@pytest.mark.parametrize("warp", [0, 1, 2])
def test_loops_over_threads_run_as_often_as_their_first_lane(n: int, warp: int) -> None:
    assert run(warp, n=n).opcodes["LDG.E"] == len(range(32 * warp, n, THREADS))


@pytest.mark.parametrize(("a", "b"), [(0, 7), (6, 7), (100, 7), (2**32 - 1, 2**31), (2**32 - 1, 2**27 + 1), (99, 1)])
def test_division_of_32_bits(a: int, b: int) -> None:
    assert run(a=a, b=b).opcodes["FMUL"] == a // b


@pytest.mark.parametrize(
    ("c", "d"), [(0, 3), (100, 7), (2**40, 2**37), (10**15, 10**13 + 7), (2**62, 2**57 - 1), (-(2**40), -(2**36) - 1)]
)
def test_division_of_64_bits_and_lanes_that_leave_a_loop_one_by_one(c: int, d: int) -> None:
    counts = run(c=c, d=d)
    assert counts.opcodes["FFMA"] == c // d + 7  # lane 7 goes on for longest, and the others wait for it
    assert counts.opcodes["STG.E"] == 1


@pytest.mark.parametrize(
    ("stride", "wavefronts", "sectors"), [(1, 1, 4), (2, 2, 8), (3, 1, 12), (8, 8, 32), (16, 16, 32)]
)
def test_bank_conflicts_and_sectors(stride: int, wavefronts: int, sectors: int) -> None:
    counts = run(n=32, stride=stride)
    assert counts.shared_stores == 1
    assert counts.shared_store_conflicts == wavefronts - 1
    assert counts.shared_wavefronts == wavefronts + 1  # the load has none
    assert counts.global_sectors == sectors + 4  # of the load and the store


def test_wavefronts_of_wide_accesses() -> None:
    lanes = np.arange(32, dtype=np.uint64)
    assert sass.wavefronts(lanes * 16, 16) == (4, 4)
    assert sass.wavefronts(lanes * 8, 8) == (2, 2)
    assert sass.wavefronts(lanes * 0, 4) == (1, 1)
    assert sass.wavefronts(lanes * 32, 16) == (8, 4)  # of eight lanes, four pairs share their banks
    quarter, lane = np.divmod(lanes, np.uint64(8))
    assert sass.wavefronts(lane * 128 + quarter * 16, 16) == (32, 4)  # the lanes of a quarter share theirs


def test_a_copy_to_shared_memory_counts_on_both_sides() -> None:
    counts = execute(
        """S2R R0, SR_TID.X
        IMAD.SHL.U32 R1, R0, 0x80, RZ
        IMAD.SHL.U32 R2, R0, 0x20, RZ
        MOV R3, RZ
        LDGSTS.E [R1], desc[UR4][R2.64]
        EXIT"""
    )
    assert counts.shared_wavefronts == 32  # words of one bank
    assert counts.global_sectors == 32


def test_the_lane_of_an_exchange_is_known() -> None:
    counts = execute(
        """S2R R0, SR_TID.X
        SHFL.IDX PT, R1, R0, 0x5, 0x1f
        IMAD.SHL.U32 R1, R1, 0x4, RZ
        STS [R1], R0
        EXIT"""
    )
    assert counts.shared_wavefronts == 1  # the same word in all lanes


def test_branches_on_data_are_counted() -> None:
    counts = execute(
        """S2R R0, SR_TID.X
        LDG.E R1, desc[UR4][R2.64]
        FSETP.GT.AND P0, PT, R1, RZ, PT
        @P0 BRA 0x50
        NOP
        EXIT"""
    )
    assert counts.unknown_branches == 1
    assert counts.opcodes["NOP"] == 1


def test_the_sums_of_a_product_of_bytes_are_unknown() -> None:
    counts = execute(
        """MOV R7, 0x1
        IMMA.16832.S8.S8 R4, R8.ROW, R12.COL, RZ
        ISETP.NE.AND P0, PT, R7, RZ, PT
        @P0 BRA 0x40
        EXIT"""
    )
    assert counts.unknown_branches == 1
    assert counts.kinds()["tensor"] == 1


def test_an_address_that_depends_on_data_is_an_error() -> None:
    with pytest.raises(sass.UnsupportedError, match="0x10: an address"):
        execute("LDG.E R1, desc[UR4][R2.64]\nLDS R3, [R1]\nEXIT")


def test_unknown_instructions_are_named() -> None:
    with pytest.raises(sass.UnsupportedError, match="0x0: NEWOP.WIDE R1, R2"):
        execute("NEWOP.WIDE R1, R2\nEXIT")


def test_kinds_of_instructions() -> None:
    counts = run(n=100, a=3, b=1)
    kinds = counts.kinds()
    assert sum(kinds.values()) == counts.instructions
    assert kinds["multiply"] == counts.opcodes["FMUL"] + counts.opcodes["FFMA"]
    assert kinds["global"] == counts.opcodes["LDG.E"] + counts.opcodes["STG.E"]
    assert kinds["shared"] == 2
    assert sass.kind_of("HMMA.16816.F32") == "tensor"
    assert sass.kind_of("HADD2.F32") == "convert"
    assert sass.kind_of("LOP3.LUT") == "integer"


def test_parameters_and_registers_of_a_kernel() -> None:
    usage = " Function loops:\n  REG:18 STACK:0 SHARED:9216 LOCAL:0 CONSTANT[0]:576\n"
    elf = """
.nv.info.loops
\tAttribute:\tEIATTR_KPARAM_INFO
\tValue:\tIndex : 0x0\tOrdinal : 0x1\tOffset  : 0x8\tSize    : 0x10
\tAttribute:\tEIATTR_KPARAM_INFO
\tValue:\tIndex : 0x0\tOrdinal : 0x0\tOffset  : 0x0\tSize    : 0x8
\tAttribute:\tEIATTR_PARAM_CBANK
\tFormat:\tEIFMT_SVAL
\tValue:\t0x1a 0x180210

.text.loops
"""
    assert launches.parse_infos(usage, elf) == {"loops": launches.KernelInfo(18, 9216, 0, ((0, 8), (8, 16)), 0x210)}


def test_spilled_registers_come_back() -> None:
    counts = execute(
        """S2R R0, SR_TID.X
        STL [R1+0x8], R0
        MOV R0, RZ
        LDL R2, [R1+0x8]
        IMAD.SHL.U32 R2, R2, 0x8, RZ
        STS [R2], R0
        EXIT"""
    )
    assert counts.shared_wavefronts == 2  # 32 lanes, 8 bytes apart
    assert counts.kinds()["local"] == 2


def test_lanes_that_jump_far_away_come_back_to_the_others() -> None:
    counts = execute(
        """S2R R0, SR_TID.X
        ISETP.LT.AND P0, PT, R0, 0x8, PT
        BSSY B0, 0x50
        @P0 BRA 0x70
        BSYNC B0
        FMUL R1, R1, R1
        EXIT
        IADD3 R2, R2, 0x1, RZ
        BRA 0x40"""
    )
    assert counts.opcodes["FMUL"] == counts.opcodes["IADD3"] == 1


def test_a_guarded_instruction_changes_its_lanes_only() -> None:
    counts = execute(
        """S2R R0, SR_TID.X
        MOV R1, RZ
        ISETP.LT.AND P0, PT, R0, 0x10, PT
        @P0 IMAD.SHL.U32 R1, R0, 0x80, RZ
        STS [R1], R0
        EXIT"""
    )
    assert counts.shared_wavefronts == 16  # words of one bank; all other lanes share the first


def test_carries_of_wide_products() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(2**31, 2**32, 200, dtype=np.uint64) for _ in range(2))
    c = rng.integers(0, 2**64 - 1, 200, dtype=np.uint64)
    expected = [int(x) * int(y) + int(z) >= 2**64 for x, y, z in zip(a, b, c, strict=True)]
    assert 20 < sum(expected) < 180
    assert sass.wide_carry(a, b, c).tolist() == expected
    assert [sass.wide_carry(int(x), int(y), int(z)) for x, y, z in zip(a, b, c, strict=True)] == expected
