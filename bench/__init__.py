"""The figures of Mailfleet: what the full path costs, beside what others cost in the same run. `python -m bench`."""
