"""The job ledger: what there is to do, who does it, and until when."""
