"""What can happen to a cluster, one short function each. Importing this package registers all of them."""

from chaos.scenarios import disk, engines, network, processes, together
from chaos.scenarios.registry import SCENARIOS, Scenario, scenario

__all__ = ["SCENARIOS", "Scenario", "disk", "engines", "network", "processes", "scenario", "together"]
