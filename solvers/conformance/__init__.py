"""What every back-end must keep, whoever wrote it: one table of checks, run by `relubench solvers --check NAME` and by
pytest.
"""
