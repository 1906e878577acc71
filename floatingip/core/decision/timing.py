"""
How long a decision about an address waits, and for what.

Each of these is a compromise between an outage and a move that was not needed; those of the pace at which EC2 is asked
are in pace.py, those that a user may choose in settings.py.
"""

from __future__ import annotations

from floatingip.core import pace

PEER_HEARD = 2.0
"""Seconds for which an observer's answer shows that this node reaches it."""

SPREAD_STEP = 2.0
"""Seconds that a node waits with a free ENI for each address it has already, so that the others get some (at most
three)."""

MOST_SPREAD = 3
"""Addresses here for which that is waited."""

RANK_STEP = 2.0
"""Seconds that each living observer before this one in rank gets to claim a free ENI (R1)."""

TAKING_STEP = 4.0
"""The same for taking an address from the judged standing ENI, where EC2 cannot tell the first of two: longer than an
observer pauses whose call EC2 has just failed.
"""

LEFT_TO_SUCCESSOR = 10.0
"""Seconds for which a free ENI is left to the node that an order names."""

PEER_EXISTS = 10.0
"""Seconds after which a peer that was not heard of is taken for gone, and not waited for."""

WITNESS_EXISTS = 30.0
"""The same for the Kubernetes API server."""

ALONE_FOR = 4.0
"""Seconds of lost probes that convict where nobody within the VPC can be asked, or only the API server answers, but
none of the other observers: longer than most trouble of a network, and short enough to be worth a takeover."""

CUT_OFF_FOR = 10.0
"""Seconds of lost probes that convict where all fell silent at once who answered before: most likely it is this node
that is cut off."""

UNREACHED_TOLD = 10.0
"""Seconds after which it is told that neither the address nor its holder's observer ever answered this node."""

REACHED_FOR = 5.0
"""Seconds of UP after which that is written."""

LOOK_IN_PEACE = 60.0
LOOK_IN_DOUBT = 1.0
LOOK_WHILE_BARRED = 10.0
LOOK_WHILE_MOVING = pace.QUICKEST
"""Seconds between two questions to EC2, as far as the pace (pace.py) allows them; one follows each write at once."""

CONFIRM_AFTER = 2.0
"""Seconds between the two answers that must name another owner before the address is dropped here (R10)."""

UNSOUND_FOR = 3.0
"""Seconds for which a holder must call itself unsound before it is relieved (R5): a flushed rule is back within one."""

DEVICE_FOR = 22.0
"""Seconds for which EC2 may show the ENI attached while its device is not there; a slow one takes 20 s (R14)."""

LEFT_TO_OTHERS = 5.0
"""Seconds for which a node leaves the ENI to others that is about to end, or has just detached it from itself for want
of its device (R14)."""

TAKEN_AFTER = 20.0
"""Seconds for which EC2 must refuse the address while it shows nobody who has it, until that is believed: a lost race
is shown sooner.
"""

ATTACHING_FOR = 60.0
"""Seconds in ``attaching`` with a silent word after which an attachment is judged as a dead holder's (R11)."""

PATIENT_FORCE = 4
"""While the holder's word is heard, a detach is given this many times ``force_after`` (R13)."""

ANSWER_KEPT = 5.0
"""Seconds for which an answer of EC2 shows that this node's own network is sound, where no probe was lost since."""

REPEAT_AFTER = 1.0
"""Seconds until the same EC2 write is made again: Describes lag, so the last one's effect may not be visible yet."""

CLAIM_SHOWN = 8.0
"""Seconds within which Describes show an address on the ENI that EC2 accepted it for; after them it is claimed anew."""

NEW_OWNER = 5.0
"""Seconds for which a standing ENI that has just got the address is not judged (A3)."""

FRESH_ANSWER = 1.0
"""Seconds for which an answer of EC2 allows to take an address from the standing ENI that it shows (A1): since it was
asked for or, where EC2 is slow, since it came."""

LOOK_BEFORE_TAKING = 0.5
"""Seconds between two questions in doubt: so the answer is fresh when it is needed."""

SAME_MOVE = 10.0
"""Seconds for which a record in the ration is of the move that is being made: a standing ENI's attachment stays."""

QUIET_FOR = 2.0
"""Seconds of a silent word after which EC2 is asked what became of the holder, though its address answers: a node that
shuts down ends its pods first."""

QUIET_PAUSE = 1.0
"""Seconds between two such questions, at least: half as long as the silence lasts, up to the slowest pace."""

READY_KNOWN = 10.0
"""Seconds for which it counts that the Kubernetes API server called this observer's pod Ready (R5)."""

CALLED_READY_FOR = 15.0
"""Seconds for which that must have been so all the time: kubelets tell of themselves every ten."""
