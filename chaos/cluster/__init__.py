"""A real cluster on this machine: private engines, and CodeWarz as several processes on them. ``make cluster`` runs one for people, chaos and tests run their own."""

from chaos.cluster.cluster import Cluster, Shape
from chaos.cluster.node import Node

__all__ = ["Cluster", "Node", "Shape"]
