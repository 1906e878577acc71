"""EC2 by boto3: its calls, who waits for their answers, and the credentials that they need."""
