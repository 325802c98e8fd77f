"""The letter of every figure: plain text and HTML, a good 2 kB on the wire, personal in a dozen places."""

SUBJECT = "{{ contact.first_name }}, a thought on {{ contact.topic }} at {{ contact.company }}"

TEXT = """\
Hello {{ contact.first_name }},

{{ contact.company }} came up when I was reading about {{ contact.topic }}, and I wondered how your team
handles it at the moment. We help firms of your size to get that work off the desks of the people who
are needed elsewhere, most often within a month and without a new system.

Would a call of fifteen minutes next week be of use to you? If somebody else at {{ contact.company }} looks
after this, I would be glad of a name, and if it is of no interest at all, one word is enough.

{{ mailbox.signature }}
{{ identity.legal_name }}, {{ identity.postal_address }}
No more letters: {{ opt_out_url }}
"""

HTML = """\
<p>Hello {{ contact.first_name }},</p>
<p>{{ contact.company }} came up when I was reading about {{ contact.topic }}, and I wondered how your team
handles it at the moment. We help firms of your size to get that work off the desks of the people who
are needed elsewhere, most often within a month and without a new system.</p>
<p>Would a call of fifteen minutes next week be of use to you?</p>
<p>{{ mailbox.signature }}<br>{{ identity.legal_name }}, {{ identity.postal_address }}<br>
<a href="{{ opt_out_url }}">No more letters</a></p>
"""
