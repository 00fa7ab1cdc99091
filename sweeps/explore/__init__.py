"""A page on which sliders choose a network, and all that is drawn of it is computed live."""
