"""The collectives of a compiled program, read from its text: what is sent, over which mesh axes, how often, from where.

XLA has the last word on what a program sends. It combines all-reduces over the
same devices into one with several operands, leaves out what it can compute
itself (the sum of a constant), and may add collectives that nobody wrote. So
programs are compared with what they should send by bytes, and not by operations.

No JAX: the text is `compiled.as_text()`.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from math import prod
from typing import Literal, NamedTuple, get_args

Kind = Literal["all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all"]

_BITS = {"pred": 8, "c64": 64, "c128": 128, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\]")
_OPERATION = re.compile(rf"^\s*(?:ROOT )?%?[\w.\-]+ = (.+?) ({'|'.join(get_args(Kind))})(-start)?\(")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(r"(?:body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LISTED = re.compile(r"(?:replica_groups|source_target_pairs)=\{((?:\{[\d,]*\},?)*)\}")
_WRAPPERS = ("scaling/parallel/collectives.py",)  # who called these is of interest
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")


class Collective(NamedTuple):
    """One operation of a compiled program."""

    kind: Kind
    axes: tuple[str, ...]  # of the mesh, that it goes over; () where the devices are no whole part of the mesh
    payload_bytes: int  # each time, of one device: the whole of what is gathered, summed, exchanged or passed on
    times: int  # that it runs in one run of the program
    is_certain: bool  # False: in a branch, or in a loop whose length the compiler does not know, counted as one
    op_name: str  # where JAX was when it was written
    line: str  # of the source, "file:number"; "" where the text does not say

    @property
    def bytes(self) -> int:
        return self.payload_bytes * self.times


def collectives(text: str, mesh: Mapping[str, int]) -> tuple[Collective, ...]:
    """All collectives of a program between more than one device, in the order of the text.

    mesh: sizes of the mesh's axes in their order; devices are numbered along
    them, the last axis fastest, as in every program of one mesh.
    """
    program = _Program(text)
    found = []
    for name, lines in program.computations.items():
        times, is_certain = program.runs(name)
        for line in lines:
            match = _OPERATION.match(line)
            if match is None or times == 0:
                continue
            groups = _groups(line, mesh)
            if max(map(len, groups)) == 1:
                continue
            size = _payload(match[1], match[2], is_start=bool(match[3]), devices=len(groups[0]))
            op_name = re.search(r'op_name="([^"]*)"', line)
            axes = _axes(groups, match[2], mesh)
            named = op_name[1] if op_name else ""
            found.append(Collective(match[2], axes, size, times, is_certain, named, program.source(line)))
    return tuple(found)


class _Program:
    """The text of a program, cut into its computations."""

    def __init__(self, text: str):
        self.text = text
        self.computations: dict[str, list[str]] = {}
        self.entry = ""
        inside: list[str] | None = None
        for line in text.splitlines():
            if start := _COMPUTATION.match(line):
                inside = self.computations.setdefault(start[2], [])
                self.entry = start[2] if start[1] else self.entry
            elif line.startswith("}"):
                inside = None
            elif inside is not None:
                inside.append(line)
        if not self.entry:
            raise ValueError(
                f"this is no text of a compiled program: no computation begins with ENTRY in its {len(text)} "
                "characters; give compiled.as_text()"
            )

    def runs(self, name: str) -> tuple[int, bool]:
        """How often a computation runs, and whether that is certain."""
        if name == self.entry:
            return 1, True
        times, is_certain = 0, True
        for caller, trips, is_sure in self._callers.get(name, ()):
            of_caller, caller_is_certain = self.runs(caller)
            times += of_caller * trips
            is_certain = is_certain and caller_is_certain and is_sure
        return times, is_certain

    @cached_property
    def _callers(self) -> dict[str, list[tuple[str, int, bool]]]:
        """Of every computation: who calls it, how often in a run of the caller, and whether that is certain."""
        callers: dict[str, list[tuple[str, int, bool]]] = {}
        for caller, lines in self.computations.items():
            for line in lines:
                called = _CALLED.findall(line)
                branches = [name.strip().lstrip("%") for group in _BRANCHES.findall(line) for name in group.split(",")]
                trips = _TRIPS.search(line)
                is_loop, is_branch = " while(" in line, " conditional(" in line
                for name in called + branches:
                    is_sure = not is_branch and (trips is not None or not is_loop)
                    callers.setdefault(name, []).append((caller, int(trips[1]) if trips and is_loop else 1, is_sure))
        return callers

    def source(self, line: str) -> str:
        """Where an operation was called for: from its metadata, or from the tables at the text's head."""
        if inline := re.search(r'source_file="([^"]*)" source_line=(\d+)', line):
            return f"{inline[1]}:{inline[2]}"
        frame = re.search(r"stack_frame_id=(\d+)", line)
        number, found = int(frame[1]) if frame else 0, ""
        while row := self._tables.get("StackFrames", {}).get(number):
            location = self._tables["FileLocations"][_number("file_location_id", row)]
            file = self._tables["FileNames"][_number("file_name_id", location)].strip('"')
            found = f"{file}:{_number('line', location)}"
            if not file.endswith(_WRAPPERS):
                break
            number = _number("parent_frame_id", row) - 1  # parents are counted from 1 with 1 for none
        return found

    @cached_property
    def _tables(self) -> dict[str, dict[int, str]]:
        """What JAX says of its call stacks, by number."""
        tables: dict[str, dict[int, str]] = {}
        for name in ("FileNames", "FileLocations", "StackFrames"):
            if block := re.search(rf"^{name}\n((?:\d+ .*\n)*)", self.text, flags=re.MULTILINE):
                tables[name] = {int(row.split(" ", 1)[0]): row.split(" ", 1)[1] for row in block[1].splitlines()}
        return tables


def _number(name: str, row: str) -> int:
    return int(re.search(rf"\b{name}=(\d+)", row)[1])


def _payload(shape: str, kind: str, *, is_start: bool, devices: int) -> int:
    if is_start and kind != "all-reduce":
        shape = _elements(shape)[1]  # operands, results, and what the platform adds
    size = sum(_width(dtype) * prod(map(int, filter(None, dims.split(",")))) for dtype, dims in _ARRAY.findall(shape))
    return size // 8 * (devices if kind == "reduce-scatter" else 1)


def _width(dtype: str) -> int:
    """Bits of an element: of f32, s8, bf16, f8e4m3fn the first number in the name."""
    return _BITS[dtype] if dtype in _BITS else int(re.search(r"\d+", dtype)[0])


def _elements(shape: str) -> list[str]:
    """Of a tuple's type, those of its elements, tuples or arrays."""
    found, depth = [""], 0
    for letter in re.sub(r"/\*.*?\*/", "", shape)[1:-1]:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return found


def _groups(line: str, mesh: Mapping[str, int]) -> list[list[int]]:
    """Devices that exchange something with each other; of a permutation pairs of source and target."""
    import numpy as np  # here: every command knows the kinds above, few look into programs

    if iota := _IOTA.search(line):
        shape, dims = ([int(n) for n in text.split(",")] for text in (iota[1], iota[2]))
        order = [int(n) for n in iota[3].split(",")] if iota[3] else range(len(dims))
        return np.arange(prod(dims)).reshape(dims).transpose(order).reshape(shape).tolist()
    listed = _LISTED.search(line)
    groups = [[int(n) for n in group.split(",")] for group in re.findall(r"\{([\d,]+)\}", listed[1])] if listed else []
    return groups or [list(range(prod(mesh.values())))]  # no groups: all devices


def _axes(groups: list[list[int]], kind: str, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The axes along which the devices of a group differ."""
    import numpy as np

    shape = tuple(mesh.values())
    differing: set[str] = set()
    for group in groups:
        places = np.array(np.unravel_index(group, shape)).reshape(len(shape), -1)
        differing |= {axis for axis, row in zip(mesh, places, strict=True) if len(set(row.tolist())) > 1}
    axes = tuple(axis for axis in mesh if axis in differing)
    is_whole = kind == "collective-permute" or len(groups[0]) == prod(mesh[axis] for axis in axes)
    return axes if is_whole else ()
