"""Every format, byte for byte."""

import csv
import io
import json
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madsci_event_cli.output import CSV_FIELDS, Format, Output, column_widths, csv_row, field_of
from madsci_event_cli.rendering import cells, parse_event
from tests.cli import golden
from tests.cli.events import HOSTILE, NODE, body, some_bodies

FIELDS = ["event_id", "level", "event_data.wells.1", "workflow_id", "message"]
MACHINE_FORMATS = [Format.JSON, Format.JSONL, Format.CSV]


def written(
    format_: Format, *, width: int | None = None, color: bool = False, fields: list[str] | None = None
) -> bytes:
    """What the same events are in that format."""
    stream = io.BytesIO()
    names = {("manager_id", "01M84VFHW35SXH6M2XV0RNA0GN"): "Example Workcell"}
    with Output(stream, format_, width, color=color, zone=UTC).events(fields or [], names) as writer:
        writer.write(some_bodies()[:4])
        writer.write(some_bodies()[4:])
    return stream.getvalue()


@pytest.mark.parametrize("format_", list(Format))
def test_a_format_into_a_pipe(format_: Format) -> None:
    golden.check(f"pipe.{format_}", written(format_))


@pytest.mark.parametrize("format_", list(Format))
def test_chosen_fields_into_a_pipe(format_: Format) -> None:
    golden.check(f"fields.{format_}", written(format_, fields=FIELDS))


@pytest.mark.parametrize("width", [200, 120, 80, 40])
def test_a_table_on_a_terminal(width: int) -> None:
    found = written(Format.TABLE, width=width)

    golden.check(f"table.{width}", found)
    assert max(cells(line) for line in found.decode().splitlines()) <= width


def test_a_table_in_colour() -> None:
    golden.check("table.color", written(Format.TABLE, width=120, color=True))


def test_a_table_of_chosen_fields() -> None:
    found = written(Format.TABLE, width=80, fields=FIELDS)

    golden.check("table.fields", found)
    assert max(cells(line) for line in found.decode().splitlines()) <= 80


@pytest.mark.parametrize("fields", [None, FIELDS])
@pytest.mark.parametrize("format_", MACHINE_FORMATS)
def test_what_programs_read_is_the_same_on_a_terminal(format_: Format, fields: list[str] | None) -> None:
    on_a_terminal = written(format_, width=40, color=True, fields=fields)

    assert on_a_terminal == written(format_, fields=fields)


def test_json_is_the_servers_events() -> None:
    assert json.loads(written(Format.JSON)) == [json.loads(body_) for body_ in some_bodies()]
    assert [json.loads(line) for line in written(Format.JSONL).splitlines()] == json.loads(written(Format.JSON))


def test_ordinary_events_are_the_bytes_the_server_answered() -> None:
    stream = io.BytesIO()
    with Output(stream, Format.JSONL).events() as writer:
        writer.write([body(1), body(2)])

    assert stream.getvalue() == body(1) + b"\n" + body(2) + b"\n"


def test_no_events_are_an_empty_answer_in_every_format() -> None:
    found = {}
    for format_ in Format:
        stream = io.BytesIO()
        with Output(stream, format_).events():
            pass
        found[format_] = stream.getvalue()

    assert found == {
        Format.TABLE: b"",
        Format.TEXT: b"",
        Format.JSON: b"[]\n",
        Format.JSONL: b"",
        Format.CSV: ",".join(CSV_FIELDS).encode() + b"\n",
        Format.RAW: b"",
    }


def test_a_failure_before_the_first_event_writes_nothing() -> None:
    stream = io.BytesIO()
    with pytest.raises(LookupError), Output(stream, Format.CSV).events():
        raise LookupError

    assert stream.getvalue() == b""


@pytest.mark.parametrize("width", [None, 80])
def test_raw_is_the_message_as_it_is_but_on_a_terminal(width: int | None) -> None:
    stream = io.BytesIO()
    with Output(stream, Format.RAW, width).events() as writer:
        writer.write([body(event_data={"message": HOSTILE})])

    assert (stream.getvalue() == f"{HOSTILE}\n".encode()) is (width is None)
    assert (b"\x1b" in stream.getvalue()) is (width is None)


@pytest.mark.parametrize("format_", [format_ for format_ in Format if format_ is not Format.RAW])
def test_no_format_writes_what_a_terminal_obeys(format_: Format) -> None:
    text = written(format_).decode()

    assert not any(mark in text for mark in "\x1b\x07\x9b\x7f\u202e\u2028")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("\t=1", "⇥=1"),
        ("-5", "-5"),
        ("+1.5e3", "+1.5e3"),
        (-5, "-5"),
        (None, ""),
        (True, "true"),
        ({"a": "=1"}, '{"a":"=1"}'),
        ("plain, text", "plain, text"),
    ],
)
def test_a_spreadsheet_takes_no_cell_for_a_formula(value: object, cell: str) -> None:
    assert next(csv.reader([csv_row([value])])) == [cell]


def test_fields_are_found_where_they_are() -> None:
    body_ = body(source={"node_id": NODE}, event_data={"a": {"b": [1, {"c": 2}]}, "message": "m", "workflow_id": "W1"})
    document, event = json.loads(body_), parse_event(body_)
    wanted = ["event_data.a.b.1.c", "event_data.a.b.0", "node_id", "workflow_id", "message", "level", "kind", "name",
              "event_data.nothing", "event_data.a.b.9", "source"]  # fmt: skip

    assert [field_of(document, event, path) for path in wanted] == [
        2, 1, NODE, "W1", "m", "info", "log_info", None, None, None, {"node_id": NODE},
    ]  # fmt: skip


@given(st.lists(st.lists(st.text(max_size=90), min_size=3, max_size=3), min_size=1), st.integers(8, 120))
def test_columns_fit_and_none_vanishes(rows: list[list[str]], width: int) -> None:
    widths = column_widths([["a", "b", "c"], *rows], width)

    assert sum(widths) + 4 <= width
    assert min(widths) >= 1
