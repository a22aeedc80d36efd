"""The verbs: one file each, with the function of the same name."""
