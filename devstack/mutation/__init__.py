"""`./dev mutate`: small faults are put into a module one by one; a fault that no test notices is a missing test."""
