"""cxray: from a folder of chest radiographs to a classifier that can be defended."""

__version__ = "0.1.0"
