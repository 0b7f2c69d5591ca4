"""The daemon itself (page section 2.3)."""

from trioker.api.replies import json_reply
from trioker.api.router import Call
from trioker.http.messages import Reply, Response


async def get_version(call: Call) -> Reply:
    """Who answers. ``GoVersion`` is the key clients look for; its value is the language trioker runs on."""
    version = call.backend.system.version()
    return json_reply({"Version": version.version, "GitCommit": version.commit, "GoVersion": version.runtime})


async def get_info(call: Call) -> Reply:
    """Counts and abilities. ``NFd`` are open descriptors, ``NGoroutines`` trio tasks."""
    info = call.backend.system.info()
    return json_reply(
        {
            "Containers": info.containers,
            "Images": info.images,
            "Debug": info.debug,
            "NFd": info.descriptors,
            "NGoroutines": info.tasks,
            "MemoryLimit": info.memory_limit,
            "SwapLimit": info.swap_limit,
        }
    )


async def get_auth(_call: Call) -> Reply:
    """Empty: since 1.2 the daemon keeps no credentials (behaviour.md section 6)."""
    return Response(404)
