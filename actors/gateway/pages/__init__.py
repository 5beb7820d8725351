"""The pages: what a browser shows. Routes that render templates from the same views as the API, the design system, and the scripts that keep a page live.

Reads only; every change goes through ``/api/v1`` from the page's scripts. Nothing here decides who may see what: ``actors.gateway.queries`` does.
"""
