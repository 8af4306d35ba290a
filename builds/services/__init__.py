"""Every change of a build's state: the admin, the API, commands, schedules and workers come here.

`requests` asks for builds, `leases` runs them, `cancels` stops them, `retries` tries them again,
`observations` stores what they report, `deletions` removes them, `clusters` knows who works,
`tokens` who may come in by the API.
"""

from builds.services.cancels import cancel_build, cancel_builds
from builds.services.clusters import beat_cluster, end_cluster, live_clusters, silence_allowed
from builds.services.deletions import (
    beat_deletion,
    begin_deletion,
    claim_deletion,
    cleanup_function,
    cleanup_functions,
    close_lost_deletion,
    finish_deletion,
    refuse_if_in_use,
    request_deletion,
    request_deletions,
    unfinished_users,
    why_in_use,
)
from builds.services.leases import (
    Outcome,
    beat,
    claim,
    close_build,
    finish_build,
    hold,
    is_held,
    look,
    note_hang,
    unclaim,
)
from builds.services.observations import store_observations, store_progress
from builds.services.requests import (
    Request,
    create_build,
    latest_successful_builds,
    queue_build,
    refuse_unarmed,
    request_build,
    why_not_buildable,
)
from builds.services.tokens import issue_token, revoke_token, user_of_token

__all__ = [
    "Outcome",
    "Request",
    "beat",
    "beat_cluster",
    "beat_deletion",
    "begin_deletion",
    "cancel_build",
    "cancel_builds",
    "claim",
    "claim_deletion",
    "cleanup_function",
    "cleanup_functions",
    "close_build",
    "close_lost_deletion",
    "create_build",
    "end_cluster",
    "finish_build",
    "finish_deletion",
    "hold",
    "is_held",
    "issue_token",
    "latest_successful_builds",
    "live_clusters",
    "look",
    "note_hang",
    "queue_build",
    "refuse_if_in_use",
    "refuse_unarmed",
    "request_build",
    "request_deletion",
    "request_deletions",
    "revoke_token",
    "silence_allowed",
    "store_observations",
    "store_progress",
    "unclaim",
    "unfinished_users",
    "user_of_token",
    "why_in_use",
    "why_not_buildable",
]
