"""Addresses of the emulated region come from their subnets."""

from __future__ import annotations

import ipaddress

import pytest

from rehearsal.emulator.addresses import PUBLIC_RANGE, AddressBook, NoFreeAddress

SUBNET = "10.20.1.0/28"


def test_the_first_address_is_the_fifth_of_the_subnet() -> None:
    assert AddressBook().take(SUBNET) == "10.20.1.4"


def test_a_subnet_gives_all_but_five_and_then_none() -> None:
    book = AddressBook()
    given = {book.take(SUBNET) for _ in range(11)}
    assert len(given) == 11
    assert not given & {"10.20.1.0", "10.20.1.1", "10.20.1.2", "10.20.1.3", "10.20.1.15"}
    assert book.taken_in(SUBNET) == 11
    with pytest.raises(NoFreeAddress, match="10.20.1.0/28"):
        book.take(SUBNET)


def test_an_address_given_back_is_not_the_next_one() -> None:
    book = AddressBook()
    first = book.take(SUBNET)
    book.release(first)
    assert book.take(SUBNET) != first


@pytest.mark.parametrize("wanted", ["10.20.1.1", "10.20.1.15", "10.20.2.9"])
def test_a_reserved_or_foreign_address_is_refused(wanted: str) -> None:
    with pytest.raises(NoFreeAddress, match="not a usable address"):
        AddressBook().take(SUBNET, wanted=wanted)


def test_a_wanted_address_is_given_once() -> None:
    book = AddressBook()
    assert book.take(SUBNET, wanted="10.20.1.9") == "10.20.1.9"
    with pytest.raises(NoFreeAddress, match="in use"):
        book.take(SUBNET, wanted="10.20.1.9")


def test_public_addresses_are_of_the_documentation_range() -> None:
    assert ipaddress.ip_address(AddressBook().take_public()) in PUBLIC_RANGE
