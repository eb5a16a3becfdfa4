"""XMP packets: what is taken out of them, and that hostile ones take no longer than their length."""

import re

import pytest

from leechcodec.formats import xmp

GAIN = b"<rdf:Description hdrgm:Version='1.0'\n  xmlns:hdrgm=\"http://ns\" tiff:Make='x'/>"
NOTE = b"xmpNote:HasExtendedXMP"


def test_attributes_go_with_the_space_before_them():
    assert xmp.without_companions(GAIN) == b"<rdf:Description tiff:Make='x'/>"
    assert xmp.without_companions(b"<a GCamera:MotionPhotoVersion = '1'  GDepth:Near=\"2\" b='3'>") == b"<a b='3'>"
    assert xmp.without_extension(b"<a \n " + NOTE + b"='AA' b='1'>") == b"<a b='1'>"


@pytest.mark.parametrize(
    ("packet", "left"),
    [
        (b"<x><hdrgm:Version>1</hdrgm:Version><y/></x>", b"<x><y/></x>"),
        (b"<x><hdrgm:Max/><hdrgm:Max a='1'/><y/></x>", b"<x><y/></x>"),
        (b"<x><Container:Directory><hdrgm:a>1</hdrgm:a></Container:Directory>z</x>", b"<x>z</x>"),
        (b"<x><GDepth:Data>1<GDepth:Data>2</GDepth:Data>3</x>", b"<x>3</x>"),
        (b"<x><GDepth:Data>never ends</x>", b"<x><GDepth:Data>never ends</x>"),
        (b"<x></GDepth:Data><GDepth:Data>1</x>", b"<x></GDepth:Data><GDepth:Data>1</x>"),
        (b"<x><hdrgm:a>1</hdrgm:ab>2</hdrgm:a>3</x>", b"<x>3</x>"),
        (b"<hdrgm:other><y/></x>", b"<hdrgm:other><y/></x>"),
    ],
)
def test_elements_go_with_what_they_hold(packet, left):
    assert xmp.without_companions(packet) == left


def test_an_extension_is_found_as_attribute_and_as_element():
    element = b"<" + NOTE + b">AA</" + NOTE + b">"
    for packet in (b"<a " + NOTE + b"='AA'/>", b"<a>" + element + b"</a>"):
        assert xmp.has_extension(packet) and not xmp.has_extension(xmp.without_extension(packet))
    assert not xmp.has_extension(b"<a>" + NOTE + b"</a>")


@pytest.mark.parametrize(
    "part",
    [
        b" ",
        b" \n",
        b"<hdrgm:a>",
        b"<hdrgm:a ",
        b"<GDepth:Data x='",
        b"<Container:Directory>",
        b" hdrgm:a=",
        b"<" + NOTE + b">",
    ],
)
def test_two_megabytes_of_anything_are_read_through(part):
    """With patterns that begin again at every place they would take hours."""
    packet = part * (2_000_000 // len(part))
    assert xmp.without_companions(packet) == packet and not xmp.has_extension(packet)


def test_many_names_that_never_end_are_read_through():
    letters = [bytes([a, b, c]) for a in range(97, 123) for b in range(97, 123) for c in range(97, 123)]
    packet = b"".join(b"<hdrgm:%s>" % name for name in letters) + b"x" * 2_000_000
    assert xmp.without_companions(packet) == packet
    assert len(re.findall(b"<hdrgm:", packet)) == len(letters)
