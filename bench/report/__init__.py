"""Reports on a run, made of its files alone: no solver and no torch is imported here."""
