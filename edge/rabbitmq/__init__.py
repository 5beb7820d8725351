"""RabbitMQ behind the ``Broker`` port: quorum queues, confirms, recovery that is ours. Everything but ``broker.py`` runs on the asyncio loop.

``url`` what a URL may say · ``errors`` the driver's errors as ours · ``leniency`` its decoding of what others sent ·
``topology`` one queue of the port as RabbitMQ's queues · ``wire`` messages and deaths · ``link`` one connection at a time · ``publisher`` confirms ·
``delivery`` and how it is settled · ``consumer`` prefetch and priorities · ``broker`` the port.
"""

from edge.rabbitmq.broker import RabbitMqBroker

__all__ = ["RabbitMqBroker"]
