"""How alerts leave the coordinator: Alertmanager, webhooks, the log. Slow or broken ones hold up nobody."""
