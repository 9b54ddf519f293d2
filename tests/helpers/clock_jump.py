"""A wall clock that jumps, for processes that tests start: see clock_jump.c."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

#: Seconds: an hour back, a day ahead, 1970 and 2038 (beyond 31 bits).
JUMPS = [-3600, 86_400, 3600 - round(time.time()), 2**31 + 3600 - round(time.time())]


class JumpingClock:
    """Clock of the processes that are started with `environment`; they see each change at once."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_JUMP": str(file)}
        file.write_bytes(struct.pack("q", 0))

    @classmethod
    def build(cls, folder: Path) -> JumpingClock | None:
        """Clock whose files are in `folder`; None without Linux and a C compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None or sys.platform != "linux":
            return None
        library = folder / "clock_jump.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", source, "-o", library, "-ldl"], check=True)
        return cls(library, folder / "offset")

    def set(self, seconds: int) -> None:
        """Let the wall clock be so many seconds ahead of the true time."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))
