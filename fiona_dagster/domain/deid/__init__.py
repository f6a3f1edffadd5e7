"""The De-identification engine: pure, from a parsed instance to the elements of its copy."""
