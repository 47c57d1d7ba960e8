"""Actions in a simulated environment: the verifier, the interface of simulators, and one of them."""
