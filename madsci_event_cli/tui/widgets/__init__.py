"""What the dashboard's screens are made of. Widgets draw state and say what the operator did; none of them fetches."""
