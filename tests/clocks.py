"""Processes whose clock jumps: a library, loaded before the system's, adds to the time of day what a file says."""

import shutil
import subprocess
from pathlib import Path

import pytest

# The clock that counts up from the machine's start is left alone, as by whoever sets a machine's time.
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long shift(void) {
  long seconds = 0;
  FILE *file = fopen(getenv("CLOCK_SHIFT"), "r");
  if (file) {
    if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    fclose(file);
  }
  return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += shift();
  return failed;
}
"""


class Clock:
    """What processes with `environment` take for the time of day, apart from the true one."""

    def __init__(self, folder: Path):
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler here: a clock that jumps is made with one")
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(SOURCE)
        done = subprocess.run(
            [compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"a clock that jumps could not be compiled: {done.stderr.strip()}")
        self._shift = folder / "shift"
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._shift)}
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """So far from the true time from now on."""
        beside = self._shift.with_suffix(".new")
        beside.write_text(str(seconds))
        beside.replace(self._shift)
