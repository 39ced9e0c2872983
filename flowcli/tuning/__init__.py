"""The search for a config by validation likelihood, on Optuna."""
