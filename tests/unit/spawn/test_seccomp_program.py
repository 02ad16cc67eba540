"""The program of the system call filter, executed by an interpreter and compared with one of libseccomp."""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from jobworkerd.spawn import seccomp_program
from jobworkerd.spawn.system_calls import ALLOWED, ALLOWED_ARGUMENTS, REFUSED, REFUSED_CLONE_FLAGS

ARCHITECTURES = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
PAIRS = (("x86_64", "i386"), ("aarch64", "arm"))
ALLOW, REFUSE, UNKNOWN = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS

Call = tuple[str, int, int]
"""Architecture, number and first argument."""


def decide(program: bytes, call: Call, second: int = 0) -> int:
    """Return the result of a program, as the kernel would. `second` is the second argument."""
    architecture, number, first = call
    arguments = (first, second, 0, 0, 0, 0)
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, ARCHITECTURES[architecture], 0, *arguments)
    instructions = list(struct.iter_unpack("=HBBI", program))
    loaded, place = 0, 0
    comparisons: dict[int, Callable[[int, int], bool]] = {
        0x15: lambda value, given: value == given,
        0x25: lambda value, given: value > given,
        0x35: lambda value, given: value >= given,
        0x45: lambda value, given: value & given != 0,
    }
    while True:
        code, if_true, if_false, value = instructions[place]
        place += 1
        if code == 0x20:
            loaded = int.from_bytes(data[value : value + 4], "little")
        elif code == 0x06:
            return int(value)
        elif code == 0x05:
            place += value
        elif code == 0x54:
            loaded &= value
        else:
            place += if_true if comparisons[code](loaded, value) else if_false


def numbers(architecture: str) -> dict[str, int]:
    return {
        name: of[architecture] for name, of in seccomp_program._read_numbers().items() if architecture in of
    }


@pytest.mark.parametrize(("machine", "compatible"), PAIRS)
def test_each_listed_system_call_has_its_result(machine: str, compatible: str) -> None:
    program = seccomp_program.compile_for(machine)
    for architecture in (machine, compatible):
        for name, number in numbers(architecture).items():
            expected = ALLOW if name in ALLOWED else REFUSE if name in REFUSED else UNKNOWN
            if name not in {*ALLOWED_ARGUMENTS, "clone", "ioctl"}:
                assert decide(program, (architecture, number, 0)) == expected, name


@pytest.mark.parametrize("architecture", ["x86_64", "i386"])
def test_arguments_decide(architecture: str) -> None:
    program, known = seccomp_program.compile_for("x86_64"), numbers(architecture)

    def result(name: str, argument: int) -> int:
        return decide(program, (architecture, known[name], argument))

    assert [result("socket", family) for family in (0, 1, 2, 10, 16, 45)] == [ALLOW] * 6
    assert [result("socket", family) for family in (12, 38, 40, 46, 0xFFFFFFFF)] == [REFUSE] * 5
    assert result("socket", 1 << 32 | 40) == REFUSE  # the kernel ignores the upper half
    assert [result("personality", value) for value in (0, 8, 0x20008, 0xFFFFFFFF)] == [ALLOW] * 4
    assert [result("personality", value) for value in (1, 0x40000, 0x20009)] == [REFUSE] * 3
    assert [result("clone", flags) for flags in (17, 0x3D0F00)] == [ALLOW] * 2
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert result("clone", 17 | flag) == REFUSE
        assert flag & REFUSED_CLONE_FLAGS
    if "socketcall" in known:
        assert [result("socketcall", operation) for operation in (0, 1, 2, 20, 21)] == [
            REFUSE,
            REFUSE,
            ALLOW,
            ALLOW,
            REFUSE,
        ]


@pytest.mark.parametrize("architecture", ["x86_64", "i386"])
def test_a_job_cannot_change_the_project_of_a_file(architecture: str) -> None:
    program = seccomp_program.compile_for("x86_64")
    call = (architecture, numbers(architecture)["ioctl"], 0)
    set_flags, set_flags_32, set_attributes, get_attributes = 0x40086602, 0x40046602, 0x401C5820, 0x801C581F
    assert [decide(program, call, each) for each in (set_flags, set_flags_32, set_attributes)] == [REFUSE] * 3
    assert decide(program, call, 1 << 32 | set_attributes) == REFUSE  # the kernel ignores the upper half
    assert [decide(program, call, each) for each in (0, 0x5413, get_attributes, 0xFFFFFFFF)] == [ALLOW] * 4
    assert decide(program, (architecture, numbers(architecture)["file_setattr"], 0)) == UNKNOWN


@pytest.mark.parametrize("architecture", ["x86_64", "i386"])
def test_a_job_cannot_encrypt_a_directory(architecture: str) -> None:
    call = (architecture, numbers(architecture)["ioctl"], 0)
    assert decide(seccomp_program.compile_for("x86_64"), call, 0x800C6613) == REFUSE


def test_allowed_system_calls_have_no_conditions() -> None:
    program = seccomp_program.compile_for("x86_64", ("clone3", "keyctl", "socket"))
    assert decide(program, ("x86_64", 435, 0)) == ALLOW
    assert decide(program, ("x86_64", 250, 0)) == ALLOW
    assert decide(program, ("x86_64", 41, 40)) == ALLOW
    assert decide(program, ("x86_64", 248, 0)) == REFUSE


def test_other_architectures_have_no_system_calls() -> None:
    program = seccomp_program.compile_for("x86_64")
    assert decide(program, ("aarch64", 0, 0)) == UNKNOWN
    assert decide(program, ("x86_64", 0x40000000 + 39, 0)) == UNKNOWN  # x32


def test_every_name_is_a_system_call_and_in_one_list() -> None:
    names = [*ALLOWED, *REFUSED, *ALLOWED_ARGUMENTS, "clone", "ioctl"]
    assert seccomp_program.unknown(names) == []
    assert len(names) == len({*names})
    assert seccomp_program.unknown(["mout", "mount"]) == ["mout"]


def test_a_machine_without_a_table_is_not_supported() -> None:
    assert [seccomp_program.is_supported(each) for each in ("x86_64", "aarch64", "riscv64")] == [
        True,
        True,
        False,
    ]


def test_the_program_stays_short() -> None:
    """The kernel translates it for each job, 0.2 µs per instruction."""
    assert all(len(seccomp_program.compile_for(machine)) // 8 < 320 for machine, _ in PAIRS)


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


_EQUAL, _MASKED_EQUAL = 4, 7


def by_libseccomp(library: ctypes.CDLL, machine: str, compatible: str) -> bytes:
    """Return a program of libseccomp with the same rules."""

    def add(action: int, name: str, *comparisons: _Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:  # this version does not know it
            return
        array = (_Comparison * len(comparisons))(*comparisons)
        code = library.seccomp_rule_add_array(
            filters, ctypes.c_uint32(action), number, len(comparisons), array
        )
        assert code == 0, (name, code)

    library.seccomp_init.restype = ctypes.c_void_p
    filters = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(UNKNOWN)))
    library.seccomp_attr_set(filters, 2, ctypes.c_uint32(UNKNOWN))  # other architectures
    for architecture in (machine, compatible):
        with suppress(AssertionError):  # one of them is the machine's and there already
            library.seccomp_arch_add(filters, ctypes.c_uint32(ARCHITECTURES[architecture]))
    for name in ALLOWED:
        add(ALLOW, name)
    for name in REFUSED:
        add(REFUSE, name)
    add(ALLOW, "clone", _Comparison(0, _MASKED_EQUAL, REFUSED_CLONE_FLAGS, 0))
    add(ALLOW, "ioctl")
    for value in ALLOWED_ARGUMENTS["personality"]:
        add(ALLOW, "personality", _Comparison(0, _EQUAL, value, 0))
    file = os.memfd_create("program")
    assert library.seccomp_export_bpf(filters, file) == 0
    library.seccomp_release(filters)
    os.lseek(file, 0, os.SEEK_SET)
    program = os.read(file, 1 << 20)
    os.close(file)
    return program


def calls(architecture: str) -> Iterator[Call]:
    """Yield all calls but those with conditions that libseccomp expresses differently."""
    later = {name: number for name, number in numbers(architecture).items() if number >= 451}
    differ = {numbers(architecture).get(name) for name in (*ALLOWED_ARGUMENTS, "clone", "uretprobe", *later)}
    for number in [*range(1100), *range(0xEFFF0, 0xF0020), 0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF]:
        if number not in differ:
            yield architecture, number, 0


def test_libseccomp_decides_in_the_same_way() -> None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not installed")
    machine, compatible = next(pair for pair in PAIRS if pair[0] == os.uname().machine)
    theirs = by_libseccomp(library, machine, compatible)
    ours = seccomp_program.compile_for(machine)
    for architecture in (machine, compatible):
        for call in calls(architecture):
            assert decide(ours, call) == decide(theirs, call), call
    for value in (0, 1, 8, 9, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF):
        call = (machine, numbers(machine)["personality"], value)
        assert (decide(ours, call) == ALLOW) == (decide(theirs, call) == ALLOW)
    for flags in (17, 0x3D0F00, 0x10000011, 0x20000):
        call = (machine, numbers(machine)["clone"], flags)
        assert (decide(ours, call) == ALLOW) == (decide(theirs, call) == ALLOW)
