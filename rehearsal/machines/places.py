"""Where things are in every region: the fixed addresses and their meaning."""

ENDPOINT_ADDRESS = "169.254.170.1"
"""The AWS API as servers and functions see it. Link-local, so it can never leave the machine."""
ENDPOINT_PORT = 4566
ENDPOINT_TLS_PORT = 443
"""The same API over TLS, for clients that call the services by their public names."""

METADATA_ADDRESS = "169.254.169.254"
"""Instance metadata. Source: EC2 user guide, "Instance metadata service"."""

RESOLVER_ADDRESS = "169.254.169.253"
"""The resolver besides each VPC's own +2 address. Source: VPC user guide, "Amazon DNS server"."""

GATEWAY_ADDRESS = "169.254.1.1"
"""Every server's next hop. Nobody holds it: a fixed neighbour entry leads to the region's end of the wire."""
GATEWAY_MAC = "02:00:00:00:00:01"

INTERNET_ADDRESS = "198.51.100.1"
"""The source of the region's own client: somebody on the internet (TEST-NET-2, RFC 5737, never routed)."""

PUBLIC_RANGE = "203.0.113.0/24"
"""Public addresses of load balancers (TEST-NET-3, RFC 5737)."""

CONTROL_PLANE_MARK = 0x51
"""Socket mark (SO_MARK) of the region's own checks, as of RDS asking its database: no group applies."""

RESOLVER_OFFSET = 2
"""The resolver is the VPC's network address plus two. Source: VPC user guide."""
