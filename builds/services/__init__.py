"""Every change of a build's state: the admin, the API, commands, schedules and workers come here.

`wishes` say what is asked for, `inputs` choose which builds it uses, `plans` which others are made
with it, `drafts` write builds down, `requests` asks for them, `promotions` let those of a plan go
on when what they waited for has ended, `abandoned` ends what a process left of its plan, `leases`
runs, `cancels` stops and `retries` repeats them, `limits` says how many run at once, `observations`
stores what they report, `deletions` removes them (`selections` very many, `removals` with all their
rows), `keeping` says which stay, `clusters` knows who works, `tokens` who may come in by the API,
`nights` whose turn the upkeep is, `schedules` starts what is due by itself, `rebuilds` what has
newer inputs.
"""

from builds.services.abandoned import cancel_abandoned_plans
from builds.services.cancels import cancel_build, cancel_builds
from builds.services.clusters import (
    beat_cluster,
    drain_cluster,
    end_cluster,
    forget_dead_clusters,
    is_to_drain,
    live_clusters,
    silence_allowed,
    undrain_cluster,
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
from builds.services.inputs import latest_successful_builds
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
from builds.services.limits import refuse_full, startable
from builds.services.nights import begin_night, end_night, forget_old, hold_night
from builds.services.observations import store_observations, store_progress
from builds.services.plans import (
    Made,
    cancel_plan,
    current_builds,
    plan_for,
    request_of,
    resume_plan,
    resumption_of,
)
from builds.services.promotions import settle_forgotten, settle_plan
from builds.services.rebuilds import jobs_to_rebuild, rebuild_job
from builds.services.removals import remove_builds, remove_log_rows, waiting_removals
from builds.services.requests import (
    create_build,
    create_plan,
    queue_build,
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
from builds.services.wishes import Request, refuse_unarmed

__all__ = [
    "Made",
    "Outcome",
    "Pruned",
    "Request",
    "beat",
    "beat_cluster",
    "beat_deletion",
    "begin_deletion",
    "begin_night",
    "cancel_abandoned_plans",
    "cancel_build",
    "cancel_builds",
    "cancel_plan",
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
    "create_plan",
    "current_builds",
    "drain_cluster",
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
    "is_to_drain",
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
    "plan_for",
    "plan_schedules",
    "prunable_builds",
    "prune_builds",
    "queue_build",
    "rebuild_job",
    "refuse_full",
    "refuse_if_in_use",
    "refuse_unarmed",
    "remove_builds",
    "remove_log_rows",
    "request_build",
    "request_deletion",
    "request_deletions",
    "request_of",
    "resume_plan",
    "resume_schedule",
    "resumption_of",
    "revoke_token",
    "settle_forgotten",
    "settle_plan",
    "silence_allowed",
    "startable",
    "store_observations",
    "store_progress",
    "unclaim",
    "undrain_cluster",
    "unfinished_users",
    "user_of_token",
    "waiting_removals",
    "why_in_use",
    "why_not_buildable",
]
