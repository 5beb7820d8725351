"""The gateway: HTTP and server-sent events for contestants, staff and whoever operates the house.

Here belong routes with their authorisation, validation and documentation (``routing``, ``dispatch``, ``api/``, ``openapi``), who is asking
(``identity``), local limits, reads in the API's shape (``*queries``, ``views``), the hub that fans events out to browsers (``sse``), health, and the
pages (``pages/``). Reads go straight to the database and Redis ports; every write is a request to core. No rule of judging or scoring belongs here,
and no driver.
"""
