"""OAuth for a whole fleet: one grant for each account, from which every mailbox's access tokens come.

`endpoints` and `refusals.toml` are what is known of the servers; `credentials`, `forms` and `answers` are pure;
`server` asks; `store` shares tokens between processes; `source` is what senders and watchers hold; `grants` and
`consent` serve the operator who connects an account.
"""
