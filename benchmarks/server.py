"""The embedded server as a process, for benchmarks."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

from sg3tf.models.configs import ConfigError

MODEL = "bench"
SECONDS_TO_START = 120
SECONDS_OF_REQUEST = 60


class Server:
    """`sg3tf serve` on a free port, as a context manager."""

    def __init__(self, base: Path, *options: str) -> None:
        command = [sys.executable, "-m", "serving.server", f"--model_base_path={base}", f"--model_name={MODEL}"]
        command += ["--host=127.0.0.1", "--port=0", "--rest_api_port=0", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._stderr_lines: list[str] = []

    def __enter__(self) -> Server:
        # Read stderr continuously: a full pipe would block the server.
        threading.Thread(target=lambda: self._stderr_lines.extend(self._process.stderr or ()), daemon=True).start()
        watchdog = threading.Timer(SECONDS_TO_START, self._process.kill)
        watchdog.start()
        ready = self._process.stdout.readline() if self._process.stdout else ""
        watchdog.cancel()
        found = re.search(r"gRPC (\S+?), REST (https?://[^/]+)", ready)
        if not found:
            self.__exit__()
            raise ConfigError(f"the server did not start: {' '.join(self._stderr_lines[-1:]) or ready!r}")
        self.address, self.rest = found.groups()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(SECONDS_OF_REQUEST)
        finally:
            self._process.kill()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def resident_mb(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1000 if found else float("nan")
