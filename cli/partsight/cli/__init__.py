"""The `partsight` command: one thin module for each verb."""
