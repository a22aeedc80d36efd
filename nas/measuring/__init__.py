"""Times of networks and of their units on a device: how they are measured, when they are believed, and budgets that are checked by them."""
