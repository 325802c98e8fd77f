"""Alerts: whom incidents are told, when, and how."""
