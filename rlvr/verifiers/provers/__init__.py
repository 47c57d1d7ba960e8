"""Provers: how a claim and a proof become files, and how the prover is asked which axioms a proof depends on."""
