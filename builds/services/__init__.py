"""Every change of a build's state: the admin, the API, commands, schedules and workers come here.

`requests` asks for builds, `leases` runs them, `cancels` stops them, `retries` tries them again,
`observations` stores what they report, `deletions` removes them (`selections` very many,
`removals` with all their rows), `keeping` says which stay, `clusters` knows who works, `tokens` who
may come in by the API, `nights` whose turn the upkeep is, `schedules` starts what is due by itself,
`rebuilds` what has newer inputs.
"""

from builds.services.cancels import cancel_build, cancel_builds
from builds.services.clusters import (
    beat_cluster,
    end_cluster,
    forget_dead_clusters,
    live_clusters,
    silence_allowed,
)
from builds.services.deletions import (
    beat_deletion,
    begin_deletion,
    claim_deletion,
    cleanup_function,
    cleanup_functions,
    cleanup_name,
    close_lost_deletion,
    finish_deletion,
    refuse_if_in_use,
    request_deletion,
    request_deletions,
    unfinished_users,
    why_in_use,
)
from builds.services.keeping import Pruned, keep_build, prunable_builds, prune_builds
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
from builds.services.nights import begin_night, end_night, forget_old, hold_night
from builds.services.observations import store_observations, store_progress
from builds.services.rebuilds import jobs_to_rebuild, rebuild_job
from builds.services.removals import remove_builds, remove_log_rows, waiting_removals
from builds.services.requests import (
    Request,
    create_build,
    latest_successful_builds,
    queue_build,
    refuse_unarmed,
    request_build,
    why_not_buildable,
)
from builds.services.schedules import (
    entries_of,
    fire_job,
    jobs_to_fire,
    look_at_schedules,
    pause_schedule,
    plan_schedules,
    resume_schedule,
)
from builds.services.selections import choose_builds, confirm_choice, hand_over_part
from builds.services.tokens import issue_token, revoke_token, user_of_token

__all__ = [
    "Outcome",
    "Pruned",
    "Request",
    "beat",
    "beat_cluster",
    "beat_deletion",
    "begin_deletion",
    "begin_night",
    "cancel_build",
    "cancel_builds",
    "choose_builds",
    "claim",
    "claim_deletion",
    "cleanup_function",
    "cleanup_functions",
    "cleanup_name",
    "close_build",
    "close_lost_deletion",
    "confirm_choice",
    "create_build",
    "end_cluster",
    "end_night",
    "entries_of",
    "finish_build",
    "finish_deletion",
    "fire_job",
    "forget_dead_clusters",
    "forget_old",
    "hand_over_part",
    "hold",
    "hold_night",
    "is_held",
    "issue_token",
    "jobs_to_fire",
    "jobs_to_rebuild",
    "keep_build",
    "latest_successful_builds",
    "live_clusters",
    "look",
    "look_at_schedules",
    "note_hang",
    "pause_schedule",
    "plan_schedules",
    "prunable_builds",
    "prune_builds",
    "queue_build",
    "rebuild_job",
    "refuse_if_in_use",
    "refuse_unarmed",
    "remove_builds",
    "remove_log_rows",
    "request_build",
    "request_deletion",
    "request_deletions",
    "resume_schedule",
    "revoke_token",
    "silence_allowed",
    "store_observations",
    "store_progress",
    "unclaim",
    "unfinished_users",
    "user_of_token",
    "waiting_removals",
    "why_in_use",
    "why_not_buildable",
]
