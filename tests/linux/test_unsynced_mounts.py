from trioker.linux.mounts import MS_BIND, Mount, unsynced

BIND = Mount("/tree", "none", MS_BIND)
LOOKED_AT = Mount("overlay", "overlay", data="lowerdir=a:b")
WRITTEN = Mount("overlay", "overlay", data="lowerdir=a,upperdir=b,workdir=c", directory="/o")


def test_only_a_writable_overlay_is_made_volatile():
    volatile = WRITTEN._replace(data="lowerdir=a,upperdir=b,workdir=c,volatile")
    assert unsynced([BIND, LOOKED_AT, WRITTEN]) == (BIND, LOOKED_AT, volatile)


def test_an_overlay_whose_options_fill_the_page_stays_as_it_is():
    full = WRITTEN._replace(data=WRITTEN.data.ljust(4090, "x"))
    assert unsynced([full]) == (full,)
