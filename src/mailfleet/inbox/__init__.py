"""Reads the fleet's mailboxes: finds the letter that a mail answers, learns from it, and stops what it stops."""
