"""
Everything that can go wrong and that a user can do something about: one tree, each kind with its exit code.

A message is one line that names the thing, the value and what to do.  The edges map foreign exceptions to these with
``raise ... from``; only the command line prints them and exits.
"""

from __future__ import annotations


class FloatingIPError(Exception):
    """The root of all our errors, never raised itself; ``hint`` says what the user can do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}; {self.hint}" if self.hint else message


class ConfigurationError(FloatingIPError):
    """The settings cannot work: nothing was touched."""

    exit_code = 2


class CloudError(FloatingIPError):
    """EC2 answered with an error, or did not answer.  ``may_be_made``: EC2 may have made the change all the same."""

    exit_code = 3
    may_be_made = False


class CloudUnavailable(CloudError):
    """EC2 did not answer, throttled or failed internally: nothing is known, try again later."""

    may_be_made = True


class Throttled(CloudUnavailable):
    """EC2 says that it did nothing: too many calls by this account ("Request throttling", EC2 API Reference)."""

    may_be_made = False


class NoCredentials(CloudUnavailable):
    """There are no credentials for AWS, or AWS does not accept those there are."""

    may_be_made = False


class Denied(CloudError):
    """IAM does not allow a call, or several; ``action`` is the missing permission, such as
    ``ec2:AttachNetworkInterface``, or several of them, separated by commas.

    ``policy`` is the kind of policy that denies it, such as an organization's service control policy, against which no
    permission of the role helps; empty if the role just lacks the permission, or if the cause is not known.
    ``resource`` is what the call is denied for, such as ``elastic-ip/eipalloc-1``, empty if that is not known.  The
    role may have the permission for resources with a certain tag, which this one lacks.
    """

    exit_code = 4

    def __init__(self, *actions: str, policy: str = "", resource: str = "") -> None:
        self.action = ", ".join(actions)
        why, where = (f" ({policy})", "there, too") if policy else ("", "to this pod's role")
        on, or_tag = (f" on {resource}", ", or give that the tag that its policy asks for") if resource else ("", "")
        super().__init__(f"IAM denies {self.action}{on}{why}", f"allow {self.action} {where}{'' if policy else or_tag}")


class LookAgain(CloudError):
    """EC2's state is not what the caller believed (a lost race, a finished detach): ask EC2 before anything else."""


class TokenSpent(LookAgain):
    """The client token was used before, for an interface with other properties: that one exists, or did."""


class NoFreeSlot(CloudError):
    """The instance has no free ENI slot or device index."""


class Exhausted(CloudError):
    """EC2 has run out of what the call needs, such as addresses in the subnet, until somebody gives some back."""


class AddressTaken(CloudError):
    """Something that is not ours has the floating address: it is never touched."""

    exit_code = 5


class ServicesUnknown(FloatingIPError):
    """The API server did not tell which Services there are: they are not known, try again later."""


class KubernetesError(FloatingIPError):
    """The API server did not do what it was asked to; ``refused``: it answered, and trying again would not help."""

    exit_code = 9

    def __init__(self, message: str, hint: str = "", *, refused: bool = False) -> None:
        super().__init__(message, hint)
        self.refused = refused


class HostError(FloatingIPError):
    """The node's kernel or tools refused what is needed (netlink, nft)."""

    exit_code = 6


class MetadataError(FloatingIPError):
    """IMDS did not answer, or its answer lacks what is needed."""

    exit_code = 7
