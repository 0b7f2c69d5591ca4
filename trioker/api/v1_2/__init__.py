"""The Docker Remote API v1.2: every endpoint of the page, and the few beyond it that the daemon of 2013 had."""

from trioker.api.router import DELETE, GET, POST, READ, Route
from trioker.api.v1_2 import attach, building, committing, containers, images, importing, registry, system, usage

__all__ = ["ROUTES"]

ROUTES = (
    Route(READ, "/containers/json", containers.get_containers_json),
    Route(READ, "/containers/ps", containers.get_containers_json),
    Route(POST, "/containers/create", containers.post_containers_create),
    Route(READ, "/containers/{name}/json", containers.get_container_json),
    Route(READ, "/containers/{name}/changes", containers.get_container_changes),
    Route(GET, "/containers/{name}/export", containers.get_container_export),
    Route(POST, "/containers/{name}/start", containers.post_container_start),
    Route(POST, "/containers/{name}/stop", containers.post_container_stop),
    Route(POST, "/containers/{name}/restart", containers.post_container_restart),
    Route(POST, "/containers/{name}/kill", containers.post_container_kill),
    Route(POST, "/containers/{name}/attach", attach.post_container_attach),
    Route(POST, "/containers/{name}/wait", containers.post_container_wait),
    Route(POST, "/containers/{name}/resize", containers.post_container_resize),
    # No slash in the name: a path of two parts that no line above has is no path of this API, rather than one that only takes DELETE.
    Route(DELETE, "/containers/{id}", containers.delete_container),
    Route(READ, "/images/json", images.get_images_json),
    Route(READ, "/images/viz", images.get_images_viz),
    Route(READ, "/images/search", registry.get_images_search),
    Route(POST, "/images/create", importing.post_images_create),
    Route(POST, "/images/getCache", images.post_images_get_cache),
    Route(READ, "/images/{name}/json", images.get_image_json),
    Route(READ, "/images/{name}/history", images.get_image_history),
    Route(POST, "/images/{name}/tag", images.post_image_tag),
    Route(POST, "/images/{name}/insert", importing.post_image_insert),
    Route(POST, "/images/{name}/push", registry.post_image_push),
    Route(DELETE, "/images/{name}", images.delete_image),
    Route(POST, "/build", building.post_build),
    Route(POST, "/commit", committing.post_commit),
    Route(POST, "/auth", registry.post_auth),
    Route(READ, "/auth", system.get_auth),
    Route(READ, "/info", system.get_info),
    Route(READ, "/version", system.get_version),
    Route(READ, "/system/df", usage.get_system_df),
)
