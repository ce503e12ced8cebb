"""Adapters to other packages, each importing its package when it is used."""
