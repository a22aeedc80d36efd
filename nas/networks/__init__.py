"""Networks by what a user calls them, as files of their own, and beside those of timm."""
