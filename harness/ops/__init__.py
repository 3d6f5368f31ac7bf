"""What gateway and worker need to be run by people: health, metrics, control, alerts and logs."""
