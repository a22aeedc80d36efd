"""The verbs: arguments in, the library called, the result said. No verb imports a verb."""
