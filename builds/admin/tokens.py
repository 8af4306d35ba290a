"""API tokens in the admin: made here, shown once, revoked here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from builds import services
from builds.admin.filters import MENU
from builds.admin.live_list import LiveListMixin
from builds.admin.shared import ListOfOurs
from builds.token_models import ApiToken
from jobs.admin import TitledMixin

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    TokenAdminBase = admin.ModelAdmin[ApiToken]
    TokenFormBase = forms.ModelForm[ApiToken]
else:
    TokenAdminBase = admin.ModelAdmin
    TokenFormBase = forms.ModelForm

MAY_MAKE = "builds.add_apitoken"
DEFAULT_DAYS = 90
MOST_YEARS = 100


def in_ninety_days() -> datetime:
    """Return when a new token expires unless its maker says otherwise."""
    return (timezone.localtime() + timedelta(days=DEFAULT_DAYS)).replace(second=0, microsecond=0)


class TokenForm(TokenFormBase):
    """What is asked before a token is made."""

    expires = forms.SplitDateTimeField(
        initial=in_ninety_days,
        widget=AdminSplitDateTime,
        help_text="From then on it is refused.",
    )

    class Meta:
        model = ApiToken
        fields = ["name", "user", "expires"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # One label stands beside both of its parts, which have none of their own.
        for part, name in zip(self.fields["expires"].widget.widgets, ("date", "time"), strict=True):
            part.attrs["aria-label"] = f"Expires, {name}"

    def clean_expires(self) -> datetime:
        """Refuse a token that could never be used."""
        expires: datetime = self.cleaned_data["expires"]
        if expires <= timezone.now():
            raise forms.ValidationError("This is over already: choose a time to come.")
        if expires.year > timezone.now().year + MOST_YEARS:
            # The calendar ends with the year 9999, and in UTC that may be over sooner.
            raise forms.ValidationError(f"Choose a time within the next {MOST_YEARS} years.")
        return expires


class TokenStateFilter(admin.SimpleListFilter):
    """Tokens by whether they open anything now."""

    title = "state"
    parameter_name = "state"
    template = MENU

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Offer the states."""
        return [("valid", "Valid"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        """Keep the tokens in the chosen state, which is that of the list."""
        kept = {
            "valid": Q(revoked=None, expires__gt=Now(), user__is_active=True),
            "expired": Q(revoked=None, expires__lte=Now()),
            "revoked": Q(revoked__isnull=False),
        }
        return queryset.filter(kept.get(str(self.value()), Q()))


@admin.register(ApiToken)
class ApiTokenAdmin(LiveListMixin, TitledMixin, TokenAdminBase):
    """Everybody who may make tokens sees and revokes their own, a superuser all of them."""

    form = TokenForm
    change_form_template = "builds/api_token.html"
    change_list_template = "builds/api_tokens.html"
    list_display = ["name", "user", "start", "state", "expires", "last_used"]
    list_select_related = ["user"]
    list_filter = [TokenStateFilter]
    search_fields = ["name", "user__username", "prefix"]
    search_help_text = "name, user, first characters"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ["revoke_selected"]

    # --- Who may -------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """Use the list that bears odd filters."""
        return ListOfOurs

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Show everybody their own tokens, a superuser all."""
        found = super().get_queryset(request).select_related("user")
        return found if request.user.is_superuser else found.filter(user=request.user.pk)

    def has_view_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Whoever may make tokens sees them too."""
        return self.has_revoke_permission(request) or super().has_view_permission(request, obj)

    def has_change_permission(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        obj: ApiToken | None = None,  # noqa: ARG002
    ) -> bool:
        """Refuse: a token is made and revoked, and nothing between."""
        return False

    def has_delete_permission(
        self,
        request: HttpRequest,
        obj: ApiToken | None = None,  # noqa: ARG002 - Django's signature
    ) -> bool:
        """Let superusers alone delete them: with their user, say. Revoking keeps the record."""
        return bool(request.user.is_active and request.user.is_superuser)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever may make tokens may revoke those they see."""
        return request.user.has_perm(MAY_MAKE)

    def look(self, rows: QuerySet[ApiToken]) -> object:
        """Look at what the columns say of the tokens of a page."""
        columns = "pk", "name", "revoked", "expires", "last_used", "user__username"
        facts = list(rows.values_list(*columns, "user__is_active"))
        return facts, [expires <= timezone.now() for _, _, _, expires, *_ in facts]

    # --- What is shown -------------------------------------------------------------------------

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """Ask for the user only where there is a choice."""
        if obj is not None:
            return ["name", "user", "start", "state", "created", "expires", "last_used"]
        return ["name", "user", "expires"] if request.user.is_superuser else ["name", "expires"]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> list[str]:  # noqa: ARG002
        """Show all of a token that there is."""
        return [] if obj is None else ["start", "state", "created", "last_used"]

    @admin.display(description="token", ordering="prefix")
    def start(self, token: ApiToken) -> str:
        """Its first characters; nobody knows the others."""
        return f"{token.prefix}…"

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        """Whether it opens anything now, and why not."""
        if token.revoked:
            return f"revoked {timezone.localtime(token.revoked):%Y-%m-%d %H:%M}"
        if token.expires <= timezone.now():
            return "expired"
        return "valid" if token.user.is_active else "its user is not active"

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer active users."""
        if db_field.name == "user":
            kwargs["queryset"] = get_user_model()._default_manager.filter(is_active=True)
            kwargs["initial"] = request.user.pk
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(
        self,
        request: HttpRequest,
        obj: ApiToken | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Choose a user, and do nothing else with users here."""
        form = super().get_form(request, obj, change=change, **kwargs)
        user = form.base_fields.get("user")
        if user is not None:
            for name in ("add", "change", "delete", "view"):
                setattr(user.widget, f"can_{name}_related", False)
        return form

    # --- Making --------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:  # noqa: ARG002
        """Make the token; for themselves, unless a superuser chose somebody."""
        if not request.user.is_superuser:
            obj.user = cast("User", request.user)
        obj.text_shown_once = services.issue_token(token=obj)  # type: ignore[attr-defined]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """Offer one button: after it the token is shown, this once."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **options)

    def response_add(
        self,
        request: HttpRequest,
        obj: ApiToken,
        post_url_continue: str | None = None,  # noqa: ARG002 - Django's signature
    ) -> HttpResponse:
        """Show the token, this once: in the reply itself, so that it is kept nowhere."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Your new API token",
            "opts": self.opts,
            "token": obj,
            "text": obj.text_shown_once,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "builds/api_token_made.html", context)

    # --- Revoking ------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Add the address of the button."""
        revoke = path(
            "<path:object_id>/revoke/",
            self.admin_site.admin_view(self.revoke),
            name="builds_apitoken_revoke",
        )
        return [revoke, *super().get_urls()]

    @method_decorator(require_POST)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Revoke one token."""
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        token = self.get_object(request, unquote(object_id))
        if token is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        self._revoke(request, token)
        return HttpResponseRedirect(reverse("admin:builds_apitoken_change", args=[quote(token.pk)]))

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke each of them."""
        for token in queryset:
            self._revoke(request, token)

    def _revoke(self, request: HttpRequest, token: ApiToken) -> None:
        if token.revoked is None:
            services.revoke_token(token=token)
            self.log_change(request, token, "Revoked.")
        self.message_user(request, f"{token} is revoked.", messages.SUCCESS)
