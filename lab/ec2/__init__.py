"""
The lab's EC2 endpoint: moto for wire format and storage, the ENI rules it lacks, a transport that can misbehave.

profiles.py says how long things take.  The rules, of what is allowed and when it happens, are in elastic.py (public
addresses), attachments.py, addresses.py (private ones), interfaces.py and instances.py; each of these uses only those
before it.  world.py puts the rules together, and routing.py makes moto ask them.  transport.py says how calls arrive,
or fail to; server.py puts everything together.
"""

import os

# Without this moto loads some hundred machine images that nobody here asks for; it reads the variable when imported.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

import lab.ec2.loader  # noqa: F401 - moto reads models as soon as it is imported
from lab.ec2.attachments import Interface
from lab.ec2.devices import Devices, NoDevices
from lab.ec2.profiles import PROFILES, Guest, Profile
from lab.ec2.server import Ec2, Instance
from lab.ec2.transport import Faults

__all__ = ["PROFILES", "Devices", "Ec2", "Faults", "Guest", "Instance", "Interface", "NoDevices", "Profile"]
