"""A search at work: which networks are proposed and evaluated, and how what comes out is recorded."""
