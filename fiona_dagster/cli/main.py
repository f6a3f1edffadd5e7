"""The `fiona` command: its commands are loaded when they are called, so that `fiona --help` is quick."""

from __future__ import annotations

import importlib
import sys

import click

from fiona_dagster.domain.errors import FionaError

COMMANDS = {
    "amend": ("fiona_dagster.cli.amend:amend", "Assign a study rightly that was assigned wrongly."),
    "assign": ("fiona_dagster.cli.assign:assign", "Assign a held study to a project by hand."),
    "classify": (
        "fiona_dagster.cli.classify:classify",
        "Classify the series of a folder by classification rules.",
    ),
    "coupling": (
        "fiona_dagster.cli.coupling:coupling",
        "The coupling list: check or import a file, list, clear.",
    ),
    "deidentify": ("fiona_dagster.cli.deidentify:deidentify", "De-identify a folder, without any server."),
    "demo": (
        "fiona_dagster.cli.demo:demo",
        "The hospital in a box and the gateway, with real sample studies.",
    ),
    "doctor": ("fiona_dagster.cli.doctor:doctor", "Check configuration, ports, tokens, destinations, disk."),
    "export": ("fiona_dagster.cli.export:export", "Export studies or a whole project in a format."),
    "find": (
        "fiona_dagster.cli.find:find",
        "Find studies by accession, UID, participant or AE title (audited).",
    ),
    "give-up": ("fiona_dagster.cli.give_up:give_up", "Give a study up that waits for a person."),
    "keys": (
        "fiona_dagster.cli.keys:keys",
        "The keys of projects: list, rotate, destroy; the site's public key.",
    ),
    "pixels": (
        "fiona_dagster.cli.pixels:pixels",
        "Text in pixels: review what was masked, propose templates.",
    ),
    "profile": (
        "fiona_dagster.cli.profile:profile",
        "Look at De-identification Profiles; check a profile file.",
    ),
    "project": ("fiona_dagster.cli.project:project", "Projects: their approvals, what they have, their end."),
    "queue": ("fiona_dagster.cli.queue:queue", "Images and packages on their way: list, cancel, retry."),
    "reconcile": (
        "fiona_dagster.cli.reconcile:reconcile",
        "Where REDCap, received, released and research PACS differ, and what to do.",
    ),
    "redcap": ("fiona_dagster.cli.redcap:redcap", "The embedded REDCap; check or provision a live one."),
    "release": (
        "fiona_dagster.cli.release:release",
        "Accept a false alarm of the residual search (audited).",
    ),
    "resend": ("fiona_dagster.cli.resend:resend", "Ask for a study's transfers once more."),
    "retrieve": (
        "fiona_dagster.cli.retrieve:retrieve",
        "Have studies fetched from scanners and archives (FIONA's moveFromScanner).",
    ),
    "send": (
        "fiona_dagster.cli.send:send",
        "Send files or folders, by default to our own receiver (FIONA's s2m).",
    ),
    "status": ("fiona_dagster.cli.status:status", "Totals of the conservation law, what is held and why."),
    "up": ("fiona_dagster.cli.up:up", "Run the gateway: receivers, Dagster webserver and daemon."),
    "withdraw": (
        "fiona_dagster.cli.withdraw:withdraw",
        "Take a participant's copies back, from everywhere, with receipts.",
    ),
    "verify": ("fiona_dagster.cli.verify:verify", "Check a release or a package."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 — the table above is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fiona-dagster", prog_name="fiona")
def fiona() -> None:
    """The DICOM research gateway: from scanners to verified, delivered, de-identified copies."""


def main() -> None:
    """Run the command line; an error of ours is one line that says what to do, exit status 2."""
    try:
        fiona()
    except FionaError as error:
        click.echo(f"fiona: {error}", err=True)
        sys.exit(2)
