"""
keepalived's notify script, as its users on EC2 have it: a node that becomes master takes the address as a secondary one
of its primary ENI.

It reads keepalived's `vrrp_notify_fifo`, a line for each change of state, instead of being started for each: so it
needs no privilege that the lab has not, and no time to start, which flatters keepalived.  Credentials and endpoint are
boto3's own business (IMDS, AWS_ENDPOINT_URL_EC2).  It writes logfmt lines: ready, takeover, assigned, refused.
"""

import argparse
import sys
import time
from datetime import UTC, datetime

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

RETRY = 1.0
"""Seconds between two tries of a call that failed."""


def say(event: str, **fields: str) -> None:
    """One line of the log, with the time in the agents' form."""
    told = "".join(f' {key}="{value}"' for key, value in fields.items())
    print(f"time={datetime.now(UTC).isoformat(timespec='milliseconds')} event={event}{told}", flush=True)


def main() -> int:
    """Follow the pipe until keepalived closes it."""
    parser = argparse.ArgumentParser(prog="python -m bench.notify", description="Move an address to a VRRP master.")
    parser.add_argument("fifo", help="keepalived's vrrp_notify_fifo")
    parser.add_argument("--eni", required=True, help="the id of this node's primary ENI")
    parser.add_argument("--address", required=True, help="the address that the master has")
    parser.add_argument("--region", required=True, help="EC2's Region")
    options = parser.parse_args()
    settings = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1, "mode": "standard"})
    ec2 = boto3.client("ec2", region_name=options.region, config=settings)
    # The first call makes the credentials and the connection, which takes half a second.
    ec2.describe_network_interfaces(NetworkInterfaceIds=[options.eni])
    say("ready")
    with open(options.fifo, encoding="utf-8") as changes:  # noqa: PTH123 - a pipe, not a file at a path
        for change in changes:
            # INSTANCE "name" STATE priority
            state = change.split()[2]
            say("state", state=state)
            while state == "MASTER":
                say("takeover", address=options.address)
                try:
                    ec2.assign_private_ip_addresses(
                        NetworkInterfaceId=options.eni, PrivateIpAddresses=[options.address], AllowReassignment=True
                    )
                except (BotoCoreError, ClientError) as error:
                    say("refused", error=str(error).replace('"', "'"))
                    time.sleep(RETRY)
                else:
                    say("assigned", address=options.address)
                    break
    return 0


if __name__ == "__main__":
    sys.exit(main())
