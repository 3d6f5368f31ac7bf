"""The sample export and the experiment that ``harness demo`` runs."""
