"""The data plane of the region: real servers, network, firewall, names. It knows nothing of AWS's API."""

from rehearsal.machines.authority import Authority
from rehearsal.machines.counters import Count, Counted
from rehearsal.machines.database import Database
from rehearsal.machines.firewall import Firewall, Rule, SecurityGroup
from rehearsal.machines.front_door import FrontDoor
from rehearsal.machines.image import build_image, gemfile_lock
from rehearsal.machines.load_balancer import REDIRECT, Listener, LoadBalancer, Target, TargetGroup
from rehearsal.machines.machines import Machines
from rehearsal.machines.metadata import Credentials, Instance, Metadata
from rehearsal.machines.network import Network
from rehearsal.machines.resolver import Resolver
from rehearsal.machines.server import Result, Server

__all__ = [
    "REDIRECT",
    "Authority",
    "Count",
    "Counted",
    "Credentials",
    "Database",
    "Firewall",
    "FrontDoor",
    "Instance",
    "Listener",
    "LoadBalancer",
    "Machines",
    "Metadata",
    "Network",
    "Resolver",
    "Result",
    "Rule",
    "SecurityGroup",
    "Server",
    "Target",
    "TargetGroup",
    "build_image",
    "gemfile_lock",
]
