"""Rule packs: loading, schedules, lint, live edits, fingerprint."""
