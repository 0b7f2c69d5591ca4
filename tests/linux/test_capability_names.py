import pytest

from trioker.linux import capabilities


def test_the_numbers_are_the_kernels():
    some = {
        "CHOWN": 0,
        "KILL": 5,
        "SYS_ADMIN": 21,
        "SYS_RESOURCE": 24,
        "MKNOD": 27,
        "SYSLOG": 34,
        "BPF": 39,
        "CHECKPOINT_RESTORE": 40,
    }
    assert {name: capabilities.NUMBERS[name] for name in some} == some
    assert sorted(capabilities.NUMBERS.values()) == list(range(41))


def test_the_default_set_is_dockers_fourteen():
    assert len(capabilities.DEFAULT) == 14
    assert capabilities.DEFAULT.issubset(capabilities.NUMBERS)
    assert not capabilities.DEFAULT & {"SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_MODULE", "NET_ADMIN"}


@pytest.mark.parametrize("change", [capabilities.limit_bounding, capabilities.set_capabilities])
@pytest.mark.parametrize("name", ["CAP_CHOWN", "chown", "", "SYS_ADMIN "])
def test_an_unknown_name_changes_nothing_and_is_named(change, name):
    with pytest.raises(ValueError, match=repr(name)):
        change({"KILL", name})
