"""What is made of runs and packs afterwards: `report/`, `rescore/`, `audit/`, scored files."""
