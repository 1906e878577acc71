"""
As much of systemd-logind as kubelet uses, on the bus that DBUS_SYSTEM_BUS_ADDRESS names.

Run in a worker as a script, by the system's Python.  A process that wants to delay a shutdown asks for an inhibitor, a
file descriptor that delays it as long as it is open.  SIGUSR1 is the power button: the signal PrepareForShutdown is
sent, and when the last inhibitor is closed this process ends, as the machine would.

Source: org.freedesktop.login1(5), "Inhibitor Locks" of systemd.
"""

import os
import signal
import sys
from typing import Any

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

MANAGER = "org.freedesktop.login1.Manager"
DELAY_AT_MOST = 3_600_000_000
"""Microseconds; EKS' images raise it to what kubelet wants."""


class Manager(dbus.service.Object):
    """logind's one object."""

    def __init__(self, bus: Any, ended: Any) -> None:
        super().__init__(bus, "/org/freedesktop/login1")
        self._ended = ended
        self._pipes: set[int] = set()
        self._shutting_down = False

    @dbus.service.method(MANAGER, in_signature="ssss", out_signature="h")
    def Inhibit(self, what: str, who: str, why: str, mode: str) -> Any:  # noqa: ARG002 - as logind has it
        reader, writer = os.pipe()
        self._pipes.add(reader)
        GLib.io_add_watch(reader, GLib.IO_HUP, self._released)
        handed = dbus.types.UnixFd(writer)
        os.close(writer)
        return handed

    @dbus.service.method(dbus.PROPERTIES_IFACE, in_signature="ss", out_signature="v")
    def Get(self, interface: str, name: str) -> Any:  # noqa: ARG002 - as D-Bus has it
        if name != "InhibitDelayMaxUSec":
            raise dbus.exceptions.DBusException(f"no property {name}")
        return dbus.UInt64(DELAY_AT_MOST)

    @dbus.service.signal(MANAGER, signature="b")
    def PrepareForShutdown(self, start: bool) -> None:
        """The signal that is sent before a shutdown begins."""

    def press(self) -> bool:
        """The power button."""
        self._shutting_down = True
        self.PrepareForShutdown(True)
        self._end_if_free()
        return True

    def _released(self, reader: int, _condition: Any) -> bool:
        os.close(reader)
        self._pipes.discard(reader)
        self._end_if_free()
        return False

    def _end_if_free(self) -> None:
        if self._shutting_down and not self._pipes:
            self._ended()


def main() -> int:
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    loop = GLib.MainLoop()
    bus = dbus.SystemBus()
    name = dbus.service.BusName("org.freedesktop.login1", bus)
    manager = Manager(bus, loop.quit)
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGUSR1, manager.press)
    loop.run()
    del name
    return 0


if __name__ == "__main__":
    sys.exit(main())
