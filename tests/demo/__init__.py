"""The demo contest's content. Whether its jury submissions get their verdicts is ``codewarz problem verify``'s business, not ours."""
