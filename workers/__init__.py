"""All work: the table of jobs, the broker, the runtime, the actors."""
