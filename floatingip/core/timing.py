"""
How long everything waits, and for what: all seconds of the agent, and of the runtime that serves it, on one page.

Each is a compromise between an outage and a move that was not needed.  Seconds that are not here: the pace at which EC2
is asked (pace.py), what a user may choose (settings.py), and how long one library or program may take for an answer
(the module in edges/ that uses it).
"""

from __future__ import annotations

from floatingip.core import pace

PEER_HEARD = 2.0
"""Seconds for which an observer's answer shows that this node reaches it."""

SPREAD_STEP = 2.0
"""Seconds that a node waits before it claims a free ENI, for each address that it has already, so that the other nodes
get some."""

MOST_SPREAD = 3
"""At most this many addresses of a node count for `SPREAD_STEP`."""

RANK_STEP = 2.0
"""Seconds that each living observer before this one in rank gets to claim a free ENI (R1)."""

TAKING_STEP = 4.0
"""The same for taking an address from the judged standing ENI, where EC2 would not refuse the second of two: longer
than an observer pauses after EC2 failed its call."""

LEFT_TO_SUCCESSOR = 10.0
"""Seconds for which a free ENI is left to the node that an order names."""

PEER_EXISTS = 10.0
"""Seconds without an answer after which a peer counts as gone, and is not waited for."""

TOLD_WITHIN = 3.0
"""Seconds within which an observer that has just begun to look should be able to tell whether the address answers."""

WITNESS_HEARD, WITNESS_EXISTS = 3.0, 30.0
"""The same as PEER_HEARD and PEER_EXISTS for the Kubernetes API server, which may take a second to answer: counted from
when it was asked."""

ALONE_FOR = 4.0
"""Seconds of lost probes that convict a holder if nobody within the VPC can be asked, or if only the API server answers
and none of the other observers: longer than most network trouble, and short enough to be worth a takeover."""

CUT_OFF_FOR = 10.0
"""Seconds of lost probes that convict a holder if all that answered before fell silent at once: most likely this node
is the one that is cut off."""

UNREACHED_TOLD = 10.0
"""Seconds after which this node says that neither the address nor its holder's observer ever answered it."""

REACHED_FOR = 5.0
"""Seconds of UP after which a tag is written that says that the address was reached (evidence.py)."""

LOOK_IN_PEACE = 60.0
LOOK_IN_DOUBT = 1.0
LOOK_WHILE_BARRED = 10.0
LOOK_WHILE_WRITING = 1.0
LOOK_WHILE_MOVING = pace.QUICKEST
"""Seconds between two questions to EC2, as far as the pace (pace.py) allows them; one follows each write at once."""

CONFIRM_AFTER = 2.0
"""Seconds between the two answers that must name another owner before the address is dropped here (R10)."""

UNSOUND_FOR = 3.0
"""Seconds for which a holder must call itself unsound before it is relieved (R5): a flushed rule is back within one."""

UNSOUND_KEPT = 3600.0
"""Seconds for which a node that was unsound when it held the address does not take it from another unsound holder (R5).
So if every node is broken, the address moves no more often than the ration's longest pause allows; and a node that was
mended may take it again some time."""

DEVICE_FOR = 22.0
"""Seconds for which EC2 may show the ENI attached while its device is not there; a slow device takes 20 s (R14)."""

LEFT_TO_OTHERS = 5.0
"""Seconds for which a node that is about to end leaves an address that nobody has to the others."""

GIVEN_UP_FOR = pace.SLOWEST + RANK_STEP
"""Seconds for which a node leaves an ENI to the others after it detached the ENI from itself because its device did not
come (R14).  If the others have seen no change for long, they learn of the free ENI only by their next question."""

TAKEN_AFTER = 20.0
"""Seconds for which EC2 must refuse the address while it shows nobody who has it, before the address counts as taken by
something that is not shown: if a race was lost, EC2 shows the winner sooner."""

ATTACHING_FOR = 60.0
"""Seconds in ``attaching``, which mostly takes a few, after which EC2 is not expected to finish: then a silent holder
is judged like a dead one (R3), and a holder that is alive gives the ENI up (R14)."""

PATIENT_FORCE = 4
"""While the holder's word is heard, a detach is given this many times ``force_after`` (R13)."""

ANSWER_KEPT = 5.0
"""Seconds for which an answer of EC2 shows that this node's own network is sound, if no probe was lost since."""

REPEAT_AFTER = 1.0
"""Seconds until the same EC2 write is made again: Describes lag, so the last one's effect may not be visible yet."""

CLAIM_SHOWN = 8.0
"""Seconds within which Describes show an address on the ENI that EC2 accepted it for; later it is claimed again."""

NEW_OWNER = 5.0
"""Seconds for which a standing ENI that has just got the address is not judged (A3)."""

FRESH_ANSWER = 1.0
"""Seconds for which an answer of EC2 is fresh enough to take an address from the standing ENI that it shows (A1),
counted from its question or, if EC2 is slow, from its arrival."""

DECIDED_FOR = 2.0
"""Seconds after a write was decided within which it may be made: three tries of a write that EC2 throttles take 1.5.  A
node that stood still in between decides anew, since another one may have the address by then."""

LOOK_BEFORE_TAKING = 0.5
"""Seconds between two questions to EC2 in doubt, so that the answer is fresh when it is needed."""

SAME_MOVE = 10.0
"""Seconds for which a record in the ration counts as one of the move that is being made: a standing ENI's attachment
stays, so its id does not tell."""

QUIET_FOR = 2.0
"""Seconds without the holder's word after which EC2 is asked what became of the holder, though its address answers: a
node that shuts down ends its pods first.  If the holder vouched for an address that does not answer, its silence alone
convicts it, and must last as long, which is four questions."""

QUIET_PAUSE = 1.0
"""Seconds, at least, between two such questions to EC2; the pause is half as long as the silence has lasted, up to the
slowest pace."""

READY_KNOWN = 10.0
"""Seconds for which it counts that the Kubernetes API server called this observer's pod Ready (R5)."""

END_TOLD_WITHIN = 3.0
"""Seconds for which a standby waits until Kubernetes and AWS tell whether its own node is to end as well, before it
relieves a leaving holder (R5): three questions; the holder serves meanwhile."""

CALLED_READY_FOR = 15.0
"""Seconds for which the API server must have called this observer's pod Ready without a break (R5): kubelets report
every ten."""

# The agent.

TICK = 0.25
"""Seconds after which a view is judged again even when nothing happened: time itself decides some rules."""

CALM_TICK = 1.0
"""The same for an address that is held and answers: any end of that is news, and is judged at once."""

POD_EVERY, POD_IN_DOUBT, POD_AWAITED = 2.0, 0.5, 0.25
"""Seconds between two questions to the API server about the own pod: in peace; while an address is in doubt or the node
is written off; and when the next answer decides something."""

METADATA_CALM = 12.0
"""Seconds without an error after which IMDS counts as working: in that time it was asked for notices twice."""

SHORT_FOR = 30.0
"""Seconds for which the others must have lacked room before that is logged: an observer that starts has none at
first."""

# Asking EC2.

PEACE_JITTER = 5.0
"""Seconds by which a question to EC2 in peace is put off at random, so that the agents do not ask all at once."""

LOOKS_ON_REQUEST_EVERY = 5.0
"""Seconds between two questions to EC2 that somebody else asked for: nobody may spend our rate of calls."""

BACKOFF_DENIED = 60.0
"""Seconds to wait in peace after IAM denied what is asked for."""

BACKOFF_FIRST, BACKOFF_LAST, BACKOFF_MOVING = 0.5, 15.0, 2.0
"""Seconds to wait after EC2 failed: at first; at most; and at most while an address may have to move."""

CLAIMS_IN_VAIN = 3
"""This many claims in a row that EC2 accepts without any effect are no accident."""

REFUSED_AGAIN = 90.0
"""Seconds within which two refusals of one kind of write are no coincidence: longer than the pause between two looks in
peace, after which the same write may be tried again."""

FORGOTTEN_AFTER = 10.0
"""Seconds after which an ENI that was created but is still not shown must have been deleted: Describes lag less."""

GONE_AFTER = 2.0
"""Seconds for which answers must lack an ENI that was shown before for longer than Describes lag, until it counts as
deleted."""

TAGGED_WITHIN = 10.0
"""Seconds within which EC2 shows the tags of an ENI that has just been created: Describes lag less."""

FULL_FOR = 15.0
"""Seconds for which an instance that EC2 called full is not tried again."""

# What is probed, and what others say.

STALL = 0.3
"""Seconds.  If a loss becomes known this much later than its timeout, the observer itself was stalled."""

UNSENT_FOR = 5.0
"""Seconds for which no probe could be sent, after which this node counts as blind: a full buffer is over by then."""

HEARD_KEPT = 60.0
"""Seconds for which an observer that has answered is asked again, even if no other observer names it."""

ASK_EVERY = 0.5
"""Seconds between two questions to one observer."""

ASK_TIMEOUT = 0.5
"""Seconds for a question, from the connection to the last byte of the answer."""

WORD_KEPT = 3.0
"""Seconds, from its question on, for which an answer says how the holder is.  The holder is asked twice a second, so an
answer gets older only if this node stood still, and the holder may be well again by then."""

REPORT_EVERY = 10.0
"""Seconds between two questions to one observer for its whole report, which people read; in doubt none is asked."""

REPORT_TIMEOUT = 0.25
"""Seconds for such a question: the next question for the observer's word waits for it."""

PEER_ASKED_FOR = 60.0
"""Seconds for which a peer is named to others after it last asked."""

PEER_CONFIRMED_FOR = 300.0
"""Seconds after which EC2 is asked anew about a peer: its address may be a pod's by then."""

PEER_REFUSED_FOR = 60.0
"""Seconds for which EC2 is not asked again about a source, or an instance known by hearsay, that it did not confirm."""

PEERS_CONFIRMED_EVERY = 5.0
"""Seconds between two questions to EC2 about peers, on average, and after a failure."""

SIGHT_CHECKED_EVERY = 5.0
"""Seconds after which a holder checks anew whether it reaches an observer in doubt from the address."""

SIGHT_TOLD_FOR = 15.0
"""Seconds for which that observer is told the result of a check."""

SERVED_CHECK_EVERY = 3.0
"""Seconds between two checks of one NodePort at a node's primary address."""

SERVED_TOLD_WITHIN = 1.0
"""Seconds from such a check's result until all observers have heard of it, at most."""

SERVED_HEARD_FOR = 10.0
"""Seconds for which an observer's word on where NodePorts answer is believed."""

SETTINGS_EVERY = 10.0
"""Seconds between two checks whether the ConfigMap's files have changed; kubelet updates them once a minute."""

LIST_EVERY = 60.0
"""Seconds between two lists of the NodePorts."""

LIST_AGAIN = 5.0
"""Seconds until the NodePorts are listed again after that failed: on a node that has just booted the API server cannot
be reached before kube-proxy runs, which is a pod like this one.
"""

# IMDS and Kubernetes.

IMDS_LATE = 30.0
"""Seconds after which IMDS surely shows an address that EC2 has given to this node."""

IMDS_SILENT_FOR = 4.0
"""Seconds without an answer of IMDS on an address that is here, after which EC2 is asked instead."""

LOOK_UNWITNESSED = 4.0
"""Seconds between two questions to EC2 while IMDS does not answer."""

METADATA_EVERY = 1.0
"""Seconds between two questions to IMDS whether the address is still here."""

NOTICE_EVERY = 5.0
"""Seconds between two questions to IMDS for notices; the latest of them, for spot instances, comes two minutes
ahead."""

POD_FRESH = 10.0
"""Seconds for which an answer of the API server on the own pod is believed."""

EVICTED_AFTER = 60.0
"""Seconds after which, at the earliest, the control plane evicts the pods of a node that it does not hear: 40 until the
node is not ready, plus the manifest's toleration of 30, less ten as a margin."""

POD_READY_FOR = 15.0
"""Seconds for which this observer must have called itself ready before it counts that Kubernetes does not call it
Ready: kubelet's readiness probe needs a few."""

# The ration of moves.

RATION_FIRST_WAIT = 60.0
"""Seconds between the first rationed move and the second; each further one doubles it."""

RATION_LONGEST_WAIT = 3600.0
"""The longest wait, in seconds: a deployment that is mended after a bad week must not stay locked for another one."""

CONVICTION_WINDOW = 600.0
"""Seconds.  Two takeovers from silent holders within it are bad luck; the third is rationed."""

CLEARED_BY_UP = 300.0
"""Seconds of UP, seen by a standby, after which the count starts anew."""

# Standing ENIs, and what is tried before the failure.

STANDING_LOOK_SOON = pace.QUICK
"""Seconds between two questions to EC2 while the ENI is on its way, as far as the pace (pace.py) allows them."""

STANDING_LOOK_IN_PEACE = 66.0
"""Seconds between two questions to EC2 in peace: longer than for addresses, whose questions also show the standing
ENIs."""

STANDING_DEVICE_FOR = DEVICE_FOR
"""Seconds for which the ENI may be attached while its device is not there.  Each further try is given twice as long."""

STANDING_ATTACHING_FOR = ATTACHING_FOR
"""The same while EC2 does not finish attaching it."""

STANDING_DEVICE_FOR_AT_MOST = 3600.0
"""Seconds.  Doubling of both ends here."""

STANDING_UNSHOWN_FOR = 60.0
"""Seconds for which EC2 must not have shown the ENI, though its device is here, before another one is created."""

STANDING_FORCE_AFTER = 20.0
"""Seconds after which a detach is forced, whoever began it: a guest that never got the device cannot let go of it."""

STANDING_UNUSED_FOR = 30.0
"""Seconds for which an address or an ENI must have been of no use to anybody before it is given back."""

STANDING_REPEAT_AFTER = 3.0
"""Seconds until the same write is made again: Describes lag, so the last one's effect may not be visible yet."""

INSTANCE_KEPT = 3600.0
"""Seconds after which an instance is forgotten that EC2 neither described again nor showed as a holder."""

REHEARSE_EVERY = 600.0
"""Seconds between two checks whether a takeover would be possible: free slots and permissions."""

REHEARSE_AGAIN = 60.0
"""Seconds until a check is made again that failed, or in which IAM denied something; LOOK_WHILE_BARRED after a denial,
while an address is in doubt."""

# The kernel.

HOST_CHECK = 15.0
"""Seconds after which the next address' plumbing is checked without any event.  Each event of netlink or nft has all
addresses checked, so this is for changes that make no event.  A check costs 1 ms, and nft 5 ms of another thread."""

HOST_RETRY = 1.0
"""Seconds until a failed repair is tried again."""

HOST_SETTLE = 0.02
"""Seconds, at least, between two checks, so that a burst of netlink events costs only one or two checks."""

STORM_SHARE, STORM_BURST = 0.1, 1.0
"""The share of its time for which the kernel's keeper may work while events do not end, and the seconds of work before
that applies: a move is a burst of events, and must not be delayed."""

ANNOUNCED_FOR = 5.0
"""Seconds for which an address is announced after it came; MetalLB does so for as long."""

ANNOUNCE_EVERY = 0.1
"""Seconds between two announcements: EC2 moves the address a moment after it accepted the call, and drops announcements
that come too early.  Neighbours that have the former holder's MAC lose what they send until the first one after it."""

# The beginning and the end.

ATTACH_GIVES_UP = 20.0
"""Seconds without any answer of EC2 after which ``attach`` leaves the rest to ``observe``."""

AHEAD_GIVES_UP = 60.0
"""Seconds after which ``attach`` leaves it to ``observe`` to prepare this node for an address that another one
holds."""

ATTACH_AT_MOST = 120.0
"""Seconds after which ``attach`` leaves whatever is not done to ``observe``: EC2 takes a minute for a move at most."""

UNSOUND_ATTACH_ENDS = 5.0
"""Seconds for which ``attach`` tries to plumb what it holds before it leaves that to ``observe``, which reports it."""

OBLIGED_AT_MOST = 12.0
"""Seconds for which SIGTERM may be put off between a detach and the device; the manifest's grace period is longer."""

EVICTED_AT_MOST = 10.0
"""Seconds for which a holder whose node ends stays until it is relieved; the manifest's grace period is longer."""

ENDS_UNTOLD, ENDS_HALF_TOLD = 1.0, 3.0
"""Seconds after SIGTERM after which a holder ends that does not know why SIGTERM came: if the API server is silent; and
if it has answered, but told too little, as when it is overloaded or about to end itself."""

KERNEL_ENDS_WITHIN = 0.5
"""Seconds that the thread which keeps the kernel gets to finish at the end."""

NEWS_END_WITHIN = 1.0
"""Seconds, at most, for which ``attach`` waits at its end until its moves have been told to the API server: nobody else
would tell of them."""

# Telling.

UNANSWERED_FOR = 180.0
"""Seconds after which a standby counts as one that could not take the address over, if EC2 has not told it who has
that: three questions in peace, since calls that fail now and then are no news."""

NOT_READY_FOR = 30.0
"""Seconds for which a node must have been unable to serve or take over before that is logged: at its start it is."""

ASTRAY_FOR = 10.0
"""Seconds for which NodePorts must not have answered at the address, though they do at its holder's own address, before
that is logged: what is known of the nodes is a few seconds old."""

KERNEL_CALM = 60.0
"""Seconds without a fault in the kernel after which another fault is news: one that keeps coming back is not."""

REPAIRS_TOLD = 5
"""How many repairs of an address' plumbing are logged within `KERNEL_CALM`: a move takes two, tampering by hand a
few."""

SAID_AGAIN = 600.0
"""Seconds after which trouble that lasts is logged again."""

NEWS_WAIT = 30.0
"""Seconds, at most, for which news for Kubernetes wait for the end of a move to this node, which they must not
delay."""

NEWS_AGAIN = 3660.0
"""Seconds after which Kubernetes is told the same again: it forgets an Event after an hour."""

NEWS_AGAIN_FIRST, NEWS_AGAIN_LAST = 5.0, 60.0
"""Seconds until news that did not reach Kubernetes are told again: at first, and at most."""

NEWS_REFUSED_AGAIN = 600.0
"""Seconds until the role is told again after it was refused: the missing permission may have been granted meanwhile."""

STANDBY_FOR = 2.0
"""Seconds for which a node must have held no address until its pod's label says so."""

LIVE_WITHIN = 10.0
"""Seconds within which the deciding thread must have come by, or the agent counts as not alive, and nothing that it
published counts any more; and within which the probing thread must be done with what it does."""

KEEPER_LIVE_WITHIN = 60.0
"""The same for the keeper of the kernel, and what it does for one address: longer than the kernel may be silent."""
