"""How an address, or a service behind it, is asked whether it answers: ICMP, TCP and HTTP."""
