from trioker.network.leftovers import Leftovers


def test_the_link_that_may_still_have_an_address_is_known_until_the_address_is_taken():
    left = Leftovers()
    left.add("10.0.0.2", "old")
    left.add("10.0.0.2", "new")
    assert [left.take("10.0.0.2"), left.take("10.0.0.2"), left.take("10.0.0.3")] == ["new", "", ""]


def test_there_is_a_look_now_and_then_after_which_only_what_is_there_is_known():
    left = Leftovers()
    looks = [number for number in range(1000) if left.add(f"address {number}", f"link {number}")]
    assert looks == [255, 511], "twice as many as before, as nobody came to look"
    left.keep({"link 7"})
    assert left.take("address 7") == "link 7"
    assert left.take("address 8") == ""
