"""Records as zone-file lines, read back by another's parser."""

import dns.rdatatype
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.dns.findings import Record
from mailfleet.health.dns.zone import zone_lines

D = "acme.com"


def read(*records):
    lines = [f"{D}. 3600 IN SOA ns.{D}. h.{D}. 1 1 1 1 1", *zone_lines(records)]
    return dns.zone.from_text("\n".join(lines) + "\n", origin=f"{D}.", relativize=False, check_origin=False)


@given(st.text(min_size=1, max_size=600))
def test_every_text_comes_back(text):
    """Quotes, backslashes, controls, other scripts and long keys: the strings joined are the text, each at most 255."""
    rdata = read(Record(f"x.{D}", "TXT", text)).get_rdataset(f"x.{D}.", dns.rdatatype.TXT)[0]
    assert b"".join(rdata.strings) == text.encode()
    assert all(len(string) <= 255 for string in rdata.strings)


def test_names_are_absolute():
    """A target without its final dot would be taken for one below the zone."""
    zone = read(Record(D, "MX", "10 mx.else.com"), Record(f"s.{D}", "CNAME", "s.else.com"))
    assert zone.get_rdataset(f"{D}.", dns.rdatatype.MX)[0].to_text() == "10 mx.else.com."
    assert zone.get_rdataset(f"s.{D}.", dns.rdatatype.CNAME)[0].to_text() == "s.else.com."


@pytest.mark.parametrize("note", ["it is in the console", "two\nlines"])
def test_what_is_not_known_is_a_comment(note):
    """A zone with a placeholder in it would be worse than one without."""
    lines = list(zone_lines([Record(f"s._domainkey.{D}", "TXT", "", note)]))
    assert len(lines) == 1
    assert lines[0].startswith(";")
    assert "\n" not in lines[0]
