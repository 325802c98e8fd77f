"""Honest e-mail outreach over a fleet of mailboxes."""
