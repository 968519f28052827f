"""The hospital's half: films arrive from a PACS, results go back to it, and nothing is lost or sent twice."""
