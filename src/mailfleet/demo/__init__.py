"""The demo: the whole path on pretend providers, and a report that the providers' ledger, not we, answers for."""
