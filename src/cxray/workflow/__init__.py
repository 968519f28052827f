"""Whole journeys, one function a command: each walks through the rooms below and writes one folder or file.

The command line parses and prints; these functions do the work and are what `cxray.train(...)` and its kin call.
"""
