"""Colours that readers with any colour vision tell apart, by Paul Tol (https://sronpersonalpages.nl/~pault/)."""

BLUE, TEAL, ORANGE, RED, PURPLE, CYAN = "#0077bb", "#009988", "#ee7733", "#cc3311", "#882255", "#33bbee"

MANY = ("#332288", "#cc6677", "#117733", "#ddcc77", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499")
"""For more than six kinds."""
