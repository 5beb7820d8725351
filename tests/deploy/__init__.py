"""Tests of how CodeWarz is deployed."""
