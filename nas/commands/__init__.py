"""The verbs. Each takes arguments, calls the library and prints the result. No verb imports another verb."""
