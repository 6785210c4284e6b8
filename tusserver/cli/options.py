"""Command line options, made from the settings: each is defined once, in ``tusserver.settings``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from tusserver.settings import Settings, WrongSetting, default, form, group, option, unknown_variables

Command = TypeVar("Command", bound=Callable[..., Any])

ENVIRONMENT = (
    "Each option can be given as an environment variable instead: --max-size as TUSSERVER_MAX_SIZE, and so on. "
    "An option wins over the environment."
)


STORES = ("sessions", "storage", "mongo_url", "db_name")
"""The settings that say where uploads are kept."""


class WrongUse(click.ClickException):
    """A wrong value: one sentence, exit code 2."""

    exit_code = 2


class SettingOption(click.Option):
    """The option of the setting that ``names`` holds. Its value stays text, which ``Settings`` reads; None when it is
    not given."""

    def __init__(self, names: Sequence[str], **attributes: Any) -> None:
        (name,) = names
        self.group = group(name)
        field = Settings.model_fields[name]
        attributes["help"] = f"{field.description}  [default: {default(name) or 'none'}]"
        declared = option(name)
        if isinstance(field.default, bool):
            declared += f"/--no-{name.replace('_', '-')}"
        else:
            attributes["metavar"] = form(name).metavar
        super().__init__([declared, name], default=None, **attributes)


class SettingsCommand(click.Command):
    """A command that takes every setting as an option."""

    def __init__(self, name: str | None, *, params: list[click.Parameter], **attributes: Any) -> None:
        options = [SettingOption([setting]) for setting in Settings.model_fields]
        super().__init__(name, params=[*options, *params], epilog=ENVIRONMENT, **attributes)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under the headings of their groups, what is no setting last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                heading = parameter.group if isinstance(parameter, SettingOption) else "Other"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=30)


def store_options(command: Command) -> Command:
    """Let a command take the options that say where uploads are kept."""
    for name in reversed(STORES):
        command = click.option(name, cls=SettingOption)(command)
    return command


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings of these options and the environment. Raises WrongUse."""
    unknown = unknown_variables(os.environ)
    if unknown:
        raise WrongUse("\n".join(unknown))
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except WrongSetting as error:
        raise WrongUse(str(error)) from None
