"""The run folder: its files, who may write them, and the run and its searches as they are read from it."""
