"""What tests share: literal loops, random batches, little data sets and ledgers, golden numbers."""
