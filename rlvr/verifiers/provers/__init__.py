"""Provers: how a claim and a proof become files, and how the prover is asked what a proof rests on."""
