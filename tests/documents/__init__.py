"""Tests of what is written: pages, snippets, the tutorial, the reference and the chores."""
