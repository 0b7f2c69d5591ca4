"""Drivers that break one promise each: the vfs driver with one fault. For each check of the suite, one that it must find."""

import os
import shutil
import stat
from contextlib import suppress

from trioker.linux import trees
from trioker.storage.driver import Change, Kind, UnpackTarget, Unsupported, Usage, Whiteouts, bind
from trioker_vfs.driver import Vfs


class Untouched(Vfs):
    """A place to hook in: what is done to a fresh copy."""

    def create(self, key, parent):
        super().create(key, parent)
        if parent:
            for place, inside, files in os.walk(os.fsencode(self._tree(key))):
                for name in (*inside, *files):
                    self.spoil(place + b"/" + name)

    def spoil(self, path):
        raise NotImplementedError


class PrivateRoot(Vfs):
    def create(self, key, parent):
        super().create(key, parent)
        if not parent:
            os.chmod(self._tree(key), 0o700)


class Forgetful(Vfs):
    """A child is empty."""

    def create(self, key, parent):
        super().create(key, None)
        if parent:
            os.symlink(parent, f"{self._root}/{key}/parent")


class Shared(Vfs):
    """All children are their parent's own tree."""

    def create(self, key, parent):
        super().create(key, parent)
        if parent:
            shutil.rmtree(self._tree(key))
            os.symlink(os.path.realpath(self._tree(parent)), self._tree(key))


class Writable(Vfs):
    def mounts(self, key, *, readonly):
        return super().mounts(key, readonly=False)


class Stale(Vfs):
    """A view for reading shows the parent."""

    def mounts(self, key, *, readonly):
        parent = f"{self._root}/{key}/parent"
        if readonly and os.path.islink(parent):
            key = os.readlink(parent)
        return super().mounts(key, readonly=readonly)


class Grandchildless(Vfs):
    """A grandchild sees the bottom layer only."""

    def create(self, key, parent):
        link = f"{self._root}/{parent}/parent"
        super().create(key, os.readlink(link) if os.path.islink(link) else parent)


class Shallow(Vfs):
    def create(self, key, parent):
        depth, above = 0, parent
        while above and os.path.islink(f"{self._root}/{above}/parent"):
            depth, above = depth + 1, os.readlink(f"{self._root}/{above}/parent")
        if depth > 100:
            raise Unsupported("a hundred are enough")
        super().create(key, parent)


class WrongMarks(Vfs):
    def unpack_target(self, key):
        return UnpackTarget(super().unpack_target(key).path, Whiteouts.OVERLAY)


class WithoutDeletions(Vfs):
    def changes(self, key):
        return (change for change in super().changes(key) if change.kind is not Kind.DELETED)


class WithoutModifications(Vfs):
    def changes(self, key):
        return (change for change in super().changes(key) if change.kind is not Kind.MODIFIED)


class WithoutAdditions(Vfs):
    def changes(self, key):
        return (change for change in super().changes(key) if change.kind is not Kind.ADDED)


class Backwards(Vfs):
    def changes(self, key):
        return iter(list(super().changes(key))[::-1])


class Busy(Vfs):
    """Tells what nobody did."""

    def changes(self, key):
        yield Change("/", Kind.MODIFIED)
        yield from super().changes(key)


class Dated(Vfs):
    """What has its old date is the same to it."""

    def changes(self, key):
        parent = os.readlink(f"{self._root}/{key}/parent")
        for change in super().changes(key):
            if change.kind is not Kind.MODIFIED or self._date(key, change) != self._date(parent, change):
                yield change

    def _date(self, key, change):
        return os.lstat(self._tree(key) + change.path).st_mtime_ns


class CopiedUp(Vfs):
    """Tells what was touched, as an upper layer of overlayfs has it."""

    def changes(self, key):
        told = dict(super().changes(key))
        copied = os.stat(f"{self._root}/{key}").st_mtime_ns
        for place, inside, files in os.walk(self._tree(key)):
            for name in (*inside, *files):
                if os.lstat(f"{place}/{name}").st_ctime_ns > copied:
                    told.setdefault(f"{place}/{name}"[len(self._tree(key)) :], Kind.MODIFIED)
        return (Change(path, told[path]) for path in sorted(told))


class WithoutDevices(Untouched):
    def spoil(self, path):
        if stat.S_ISBLK(os.lstat(path).st_mode):
            os.unlink(path)


class OwnedByRoot(Untouched):
    def spoil(self, path):
        os.lchown(path, 0, 0)


class WithoutSetuid(Untouched):
    def spoil(self, path):
        if not os.path.islink(path):
            os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & 0o777)


class WholeSeconds(Untouched):
    def spoil(self, path):
        seconds = os.lstat(path).st_mtime_ns // 10**9 * 10**9
        os.utime(path, ns=(seconds, seconds), follow_symlinks=False)


class WithoutAttributes(Untouched):
    def spoil(self, path):
        for name in os.listxattr(path, follow_symlinks=False):
            os.removexattr(path, name, follow_symlinks=False)


class LinksBroken(Untouched):
    def spoil(self, path):
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            shutil.copy2(path, path + b"~")
            os.rename(path + b"~", path)


class LinksRefused(Vfs):
    """As if every file lay on a disk of its own: other names of a file are copies, made whenever the tree is mounted again."""

    def mounts(self, key, *, readonly):
        for place, _, files in os.walk(self._tree(key)):
            for path in (f"{place}/{name}" for name in files):
                if os.lstat(path).st_nlink > 1:
                    shutil.copy2(path, f"{path}~", follow_symlinks=False)
                    os.rename(f"{path}~", path)
        return super().mounts(key, readonly=readonly)


class HolesFilled(Untouched):
    def spoil(self, path):
        if os.path.isfile(path) and os.path.getsize(path) > 2**20:
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))


class Decoding(Vfs):
    """Loses names that are no text."""

    def changes(self, key):
        return (change for change in super().changes(key) if change.path.isprintable())


class Generous(Vfs):
    """Counts a hard link as often as it has names."""

    def usage(self, key):
        size = entries = 0
        for place, inside, files in os.walk(self._tree(key)):
            entries += len(inside) + len(files)
            size += sum(os.lstat(f"{place}/{name}").st_size for name in files)
        return Usage(size, entries)


class Weightless(Vfs):
    def usage(self, key):
        super().usage(key)
        return Usage(0, 0)


class Ephemeral(Vfs):
    """Begins anew with every opening."""

    def __init__(self, root):
        super().__init__(root)
        for name in os.listdir(root):
            trees.remove_tree(root / name)


class OnceOnly(Vfs):
    """Cannot remove twice, and so not what is half there."""

    def remove(self, key):
        shutil.rmtree(f"{self._root}/{key}")


class Littering(Vfs):
    def remove(self, key):
        super().remove(key)
        os.makedirs(f"{self._root}/graves/{key}", exist_ok=True)


class Overwriting(Vfs):
    def create(self, key, parent):
        self.remove(key)
        super().create(key, parent)


class Orphanage(Vfs):
    """Takes any parent, there or not."""

    def create(self, key, parent):
        if parent and not os.path.exists(self._tree(parent)):
            parent = None
        super().create(key, parent)


class Faithful(Vfs):
    """A child cannot go before it has looked at its parent."""

    def remove(self, key):
        link = f"{self._root}/{key}/parent"
        if os.path.islink(link):
            os.stat(self._tree(os.readlink(link)))
        super().remove(key)


class Secretive(Vfs):
    def keys(self):
        return []


class OneStash(Vfs):
    """All copies go through one place."""

    def create(self, key, parent):
        os.mkdir(f"{self._root}/stash")
        try:
            super().create(key, parent)
        finally:
            os.rmdir(f"{self._root}/stash")


class Lazy(Vfs):
    """Writes down at closing what it has: what it had answered for is swept away after a crash."""

    def __init__(self, root):
        super().__init__(root)
        self._known = set(self._written())
        for key in set(super().keys()) - self._known:
            super().remove(key)
        self.close()

    def _written(self):
        with suppress(FileNotFoundError), open(f"{self._root}/index") as file:
            return file.read().split()
        return []

    def create(self, key, parent):
        super().create(key, parent)
        self._known.add(key)

    def remove(self, key):
        super().remove(key)
        self._known.discard(key)

    def close(self):
        with open(f"{self._root}/index", "w") as file:
            file.write("\n".join(self._known))


class Fragile(Vfs):
    """Does not open over what a crash left."""

    def __init__(self, root):
        with suppress(FileNotFoundError):
            if any(name.startswith(trees.REMOVING) for name in os.listdir(root)):
                raise RuntimeError("unclean")
        super().__init__(root)


class Carefree(Vfs):
    """Takes a full disk for a whole copy."""

    def create(self, key, parent):
        with suppress(OSError):
            super().create(key, parent)


class Renaming(Vfs):
    """What is mounted is a fresh copy of what was written, by content alone."""

    def mounts(self, key, *, readonly):
        tree = self._tree(key)
        os.rename(tree, f"{tree}~")
        shutil.copytree(f"{tree}~", tree, symlinks=True, copy_function=self._copy)
        shutil.rmtree(f"{tree}~")
        return bind(tree, readonly=readonly)

    @staticmethod
    def _copy(source, target):
        if "config" in source:
            raise OSError(0, "a reserved name")
        return shutil.copy(source, target)


FAULTS = {
    "a_tree_without_a_parent_is_empty": PrivateRoot,
    "a_child_shows_its_parent_and_keeps_what_is_written": Forgetful,
    "siblings_do_not_see_each_other": Shared,
    "a_readonly_view_cannot_be_written": Writable,
    "a_running_tree_can_be_viewed_and_measured_meanwhile": Stale,
    "layers_stack": Grandchildless,
    "a_hundred_and_twenty_eight_layers_stack": Shallow,
    "what_an_image_layer_deletes_is_hidden": WrongMarks,
    "what_an_image_layer_made_opaque_shows_nothing_from_below": WrongMarks,
    "a_file_can_be_renamed_over_another": Renaming,
    "a_directory_of_the_image_can_be_renamed_or_says_that_it_cannot": WithoutDeletions,
    "a_directory_of_the_child_s_own_can_be_renamed": Forgetful,
    "every_kind_of_file_comes_through": WithoutDevices,
    "owners_are_kept": OwnedByRoot,
    "setuid_bits_are_kept": WithoutSetuid,
    "times_are_kept_to_the_nanosecond": WholeSeconds,
    "attributes_and_capabilities_are_kept": WithoutAttributes,
    "attributes_can_be_changed_in_a_child": WithoutAttributes,
    "hard_links_stay_together": LinksBroken,
    "a_file_of_the_image_can_get_another_name": LinksRefused,
    "holes_stay_holes": HolesFilled,
    "hostile_names_and_depths_are_harmless": Decoding,
    "names_of_any_bytes_come_through": Decoding,
    "the_size_of_a_layer_is_that_of_a_walk": Generous,
    "the_size_of_a_child_is_what_it_holds": Weightless,
    "an_untouched_child_has_no_changes": Busy,
    "changes_are_told_in_the_order_of_a_walk": Backwards,
    "a_directory_made_anew_hides_its_old_entries": WithoutDeletions,
    "a_path_that_changes_its_kind_is_modified": WithoutAdditions,
    "every_changed_fact_is_a_modification": WithoutModifications,
    "content_under_its_old_date_is_told": Dated,
    "what_was_touched_and_is_the_same_is_not_told": CopiedUp,
    "a_file_with_one_name_more_is_modified": Dated,
    "random_changes_are_told_as_a_walk_of_both_trees_finds_them": WithoutDeletions,
    "data_outlives_the_driver": Ephemeral,
    "removing_takes_one_tree_and_may_be_repeated": OnceOnly,
    "removing_leaves_nothing": Littering,
    "a_key_is_made_once": Overwriting,
    "a_parent_that_is_not_there_is_refused": Orphanage,
    "removing_a_parent_is_refused_whole_or_its_children_can_still_be_removed": Faithful,
    "what_is_there_is_listed": Secretive,
    "many_children_are_made_and_removed_at_once": OneStash,
    "chains_grow_at_once": OneStash,
    "a_second_process_is_refused_or_harms_nothing": Ephemeral,
    "a_create_killed_anywhere_can_be_removed_and_repeated": Lazy,
    "a_create_without_a_parent_killed_anywhere_can_be_removed": Lazy,
    "a_remove_killed_anywhere_can_be_finished": OnceOnly,
    "an_opening_killed_anywhere_can_be_repeated": Fragile,
    "a_full_disk_fails_cleanly": Carefree,
}
"""The fault that a check must find."""
