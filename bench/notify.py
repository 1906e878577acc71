"""
keepalived's notify script, as its users have it on EC2: a node that becomes master assigns the address to its primary
ENI as a secondary one.

It reads keepalived's `vrrp_notify_fifo`, one line for each change of state, instead of being started for each change:
so it needs no privilege that the lab lacks, and no time to start, which flatters keepalived.  boto3 itself finds
credentials and endpoint (IMDS, AWS_ENDPOINT_URL_EC2).  It writes logfmt lines: ready, takeover, assigned, refused.
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
    """Write one line of the log, with the time as the agents write it."""
    told = "".join(f' {key}="{value}"' for key, value in fields.items())
    print(f"time={datetime.now(UTC).isoformat(timespec='milliseconds')} event={event}{told}", flush=True)


def main() -> int:
    """Act on each line of the pipe until keepalived closes it."""
    parser = argparse.ArgumentParser(prog="python -m bench.notify", description="Move an address to a VRRP master.")
    parser.add_argument("fifo", help="keepalived's vrrp_notify_fifo")
    parser.add_argument("--eni", required=True, help="the id of this node's primary ENI")
    parser.add_argument("--address", required=True, help="the address that the master has")
    parser.add_argument("--region", required=True, help="EC2's Region")
    options = parser.parse_args()
    settings = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1, "mode": "standard"})
    ec2 = boto3.client("ec2", region_name=options.region, config=settings)
    # The first call fetches credentials and opens the connection, which takes half a second: so do it now.
    ec2.describe_network_interfaces(NetworkInterfaceIds=[options.eni])
    say("ready")
    with open(options.fifo, encoding="utf-8") as changes:  # noqa: PTH123 - a pipe, not a file at a path
        for change in changes:
            # A line is: INSTANCE "name" STATE priority
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
