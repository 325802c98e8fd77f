"""Whether receivers can believe that a domain's letters are its own: SPF, DKIM, DMARC, MX, opt-out host, blocklists.

`rules*` decide from answers; `lookup` asks for them; `checking` joins the two; `store` remembers in the database.
"""
