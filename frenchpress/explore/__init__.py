"""Design-space exploration: which configurations lose least for what they cost. The search itself is Optuna's."""
