"""The commands of `relubench`, one file each; `bench/cli.py` collects them."""
