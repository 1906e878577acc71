"""Find out whether there are rules in iptables' own ("legacy") tables, which nft does not list."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

# linux/netfilter_ipv4/ip_tables.h, and ip6_tables.h, which has the same numbers: IPT_SO_GET_INFO, ipt_getinfo.
_GET_INFO = 64
_NAME = 32
_INFO = struct.Struct("=32sI5I5III")
_FAMILIES = (
    ("iptables", "ip_tables_names", socket.AF_INET, socket.IPPROTO_IP),
    ("ip6tables", "ip6_tables_names", socket.AF_INET6, socket.IPPROTO_IPV6),
)


def tables_with_rules() -> Iterator[str]:
    """The tables that have rules, as `iptables filter`, in the network namespace of this thread.  Raises OSError."""
    for command, file, family, level in _FAMILIES:
        try:
            # The thread's own file: threads may be in another network namespace than the process.
            names = Path(f"/proc/thread-self/net/{file}").read_text(encoding="ascii").split()
        except FileNotFoundError:  # The kernel has no such tables, or nobody has used any.
            continue
        if names:
            with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as asking:
                yield from (f"{command} {name}" for name in names if _has_rules(asking, level, name))


def _has_rules(asking: socket.socket, level: int, name: str) -> bool:
    """Whether the table has rules.  Only ask for a table that exists: otherwise the kernel would make it."""
    answer = ctypes.create_string_buffer(name.encode("ascii").ljust(_NAME, b"\0"), _INFO.size)
    length = ctypes.c_uint32(_INFO.size)
    # Python's own getsockopt cannot hand a name in.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(asking.fileno(), level, _GET_INFO, answer, ctypes.byref(length)):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    _, hooks, *_, entries, _ = _INFO.unpack(answer.raw)
    # A table without rules has an entry for the policy of each chain, and one that ends the table.
    return bool(entries > hooks.bit_count() + 1)
