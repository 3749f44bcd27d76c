"""Rules and solvers of the job-shop family, by name."""
POLICIES: dict = {}
SOLVERS: dict = {}
