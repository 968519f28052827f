"""The same work where one machine ends: on an existing Ray cluster, or on all cores of this machine without Ray."""
