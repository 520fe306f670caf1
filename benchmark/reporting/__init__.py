"""The ledger, and the report that is a pure function of it."""
