"""The privileged side: standard library only, synchronous, single-threaded, needs no daemon to be alive.

Four kinds of process, all forked from one interpreter:

- the *zygote* (``zygote.py``): started once by the daemon, imports everything, freezes the heap, then only forks. It reads no order. It ends
  with its control socket; nothing depends on it.
- a *monitor* per container (``monitor.py``): in a session of its own, parent of the container's init, holds its stdio, writes its log,
  serves the daemon, records its end. It outlives the daemon and the zygote and goes when the container has gone.
- the container's *init* (``init.py``): from clone3 to execve; becomes the user's command, PID 1 of its namespace. One waits for the next order
  with its namespaces and filesystems ready, below a monitor that waits too; where control groups are of version 2 its maker waits for it, as
  it is to be born in a group that does not exist yet. It takes the order from the control socket itself, makes what
  the container needs on the host (``launch.py``) and inside, and hands that over to its monitor, which tells the daemon once the command runs.
- a *helper* per job (``helper.py``): unpacks a layer, packs a tree or writes into one, confined. What becomes of an init whose order is that.

The wire (``wire.py``): SOCK_SEQPACKET sockets. A packet is one tag byte and a payload:

==== =========================================================================================================
tag  payload
==== =========================================================================================================
J    a JSON object, descriptors beside it (SCM_RIGHTS) in the order its ``fds`` key lists their names
1 2  stdout, stderr: 8 bytes big-endian log position *behind* this piece, then the bytes (at most 64 KiB)
==== =========================================================================================================

Daemon to zygote, one packet per process wanted, no answer on this socket::

    {"kind": "launch" | "unpack" | "pack" | "write" | "mirror" | "compare", "fds": ["report", "spec", ...]}

``report`` is the socket the process answers on; ``spec`` a memfd with the JSON of ``spec.py`` (any size). ``unpack`` and ``write`` add
``data`` (a pipe or socket to read the tar from, end of file ends it); ``pack`` adds ``data`` to write the tar to, and perhaps ``container``, the
pidfd of a running container whose own root is packed, without what is mounted inside. ``mirror`` and ``compare`` add ``data`` to tell how many
bytes they have read, as lines of digits; they end when nobody reads them. ``launch`` may add ``output``: the command's standard
output and error, which then pass by monitor and log.

Monitor to daemon on ``report`` (and on every later connection to ``<run_dir>/monitor.sock``, where ``started`` comes first again; one that
is made during the launch waits for its outcome)::

    {"event": "started", "pid": 4711, "started_ns": ..., "tty": false, "warnings": [...], "fds": ["pidfd", "stdin"?]}
        the command has been executed. ``stdin`` is a descriptor into the container's stdin pipe or its terminal's master
        (then also resized through it); it is there when the container has an open stdin (and ``close_stdin`` was not said) or a terminal.
        ``warnings`` say in words which limits the host could not set.
    {"event": "failed", "stage": "exec", "message": "...", "exit_code": 127}
        nothing runs, nothing is left but ``exit.json`` and the message in the log. Stages: spec, namespaces, cgroup, network, log, monitor,
        rootfs, mounts, stdio, bind, user, limits, cwd, security, exec, init. ``exit_code`` is 126 or 127 of exec, else 128.
    {"event": "attached", "position": 123}
        answer to ``attach``: every byte of output logged behind this position comes as a packet 1 or 2.
    {"event": "exited", "code": 0, "finished_ns": ..., "oom_killed": false, "error": ""}
        last packet, sent after all output; the control groups are removed and the monitor ends.

Daemon to monitor::

    {"op": "attach"}        send output from now on (also asked for at launch by ``attached`` in the spec)
    {"op": "detach"}        stop sending it
    {"op": "close_stdin"}   close the monitor's own end of stdin (never of a terminal)

A daemon that takes no packet for 10 s is cut off by the monitor (the container must not wait for it); output goes on into the log. At most
one daemon is connected; a newer connection replaces an older.

Files in ``<run_dir>`` (``<exec-root>/<container id>``, 0700, made by the daemon): ``monitor.sock``; ``running.json`` (``pid``,
``pid_start`` = field 22 of /proc/pid/stat, ``cgroups`` = list of directories), written before execve; ``exit.json`` (``code``, ``finished_ns``,
``oom_killed``, ``error``), written whole (rename) when the container has ended or failed to start, before ``exited`` or ``failed`` is sent.
A ``running.json`` beside an ``exit.json`` names control groups that could not be removed. The daemon removes the directory once it has
recorded the end.

Helper to daemon on ``report``:
``{"event": "done", "size": bytes, "entries": n}`` (``mirror`` tells neither, ``compare`` the ``difference``) or
``{"event": "failed", "message": "...", "archive": true}``, where
``archive`` tells that the tar is at fault and not the host, and in its place ``full`` whether a filesystem had no room.
"""
