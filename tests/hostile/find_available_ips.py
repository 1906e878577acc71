"""What find-available-ips.py is told where all is well, and in which environment it runs."""

from collections.abc import Callable

SUBNET = (
    "<subnetSet><item><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><availabilityZone>us-west-2a</availabilityZone>"
    "<cidrBlock>10.0.0.0/28</cidrBlock></item></subnetSet>"
)
NO_RESERVATIONS = "<subnetIpv4CidrReservationSet/><subnetIpv6CidrReservationSet/>"
EMPTY = {"DescribeSubnets": "<subnetSet/>", "DescribeNetworkInterfaces": "<networkInterfaceSet/>"}
SHOWN = EMPTY | {"DescribeSubnets": SUBNET, "GetSubnetCidrReservations": NO_RESERVATIONS}
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
AT_HOME = {"AWS_REGION": "us-west-2", "HOME": "/nonexistent"}
Main = Callable[[list[str]], int]
