"""
The lab's EC2 endpoint: moto for wire format and storage, the ENI rules it lacks, a transport that can misbehave.

profiles.py says how long things take, rules.py what is allowed and what happens when (with addresses.py for private
addresses and elastic.py for public ones), transport.py how calls arrive or fail to, server.py puts them together.
"""

import os

# Without this moto loads some hundred machine images that nobody here asks for; it reads the variable when imported.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

from lab.ec2.profiles import PROFILES, Guest, Profile
from lab.ec2.rules import Devices, Interface, NoDevices
from lab.ec2.server import Ec2, Instance
from lab.ec2.transport import Faults

__all__ = ["PROFILES", "Devices", "Ec2", "Faults", "Guest", "Instance", "Interface", "NoDevices", "Profile"]
