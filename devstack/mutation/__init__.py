"""`./dev mutate`: mutation testing. Puts small faults into a module one by one; if no test fails, a test is missing."""
