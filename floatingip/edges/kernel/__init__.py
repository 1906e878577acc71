"""The node's network: netlink, nft, and what is announced to the neighbours."""
