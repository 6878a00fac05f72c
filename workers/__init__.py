"""All work: the kinds of jobs, the broker, the runtime, the actors."""
