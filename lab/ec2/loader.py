"""
All users of the SDK in this process share one loader of its models, if this module is imported first.

moto opens a session for each question about Regions, and so do we for each account; each of them would take a tenth of
a second to read EC2's model, and keep it: 25 MB.
"""

from functools import cache

import botocore.session

botocore.session.create_loader = cache(botocore.session.create_loader)
