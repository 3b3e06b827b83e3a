"""Events out: one, the newest, those a selector finds, those that were archived."""

import json
from urllib.parse import quote

import httpx
import pytest

from tests.server.calls import detail, get, post, post_at

NODE = "01JYKZDPANTNRYXF5TQKRJS0F2"
MORNING = [f"2026-11-23T08:00:{second:02}Z" for second in range(7)]


class TestOne:
    async def test_by_its_id(self, client: httpx.AsyncClient) -> None:
        event = await post(client, "hello")

        assert await get(client, f"/event/{event['event_id']}") == event

    @pytest.mark.parametrize("event_id", ["a/b", "/a", "a//b/", "a?b#c", "é %2F", "..x", "a b"])
    async def test_an_id_may_hold_anything_printable(self, client: httpx.AsyncClient, event_id: str) -> None:
        event = await post(client, event_id=event_id)

        assert await get(client, f"/event/{quote(event_id, safe='')}") == event

    async def test_a_slash_in_an_id_need_not_be_escaped(self, client: httpx.AsyncClient) -> None:
        event = await post(client, event_id="plate/7")

        assert await get(client, "/event/plate/7") == event

    async def test_a_missing_one_is_a_404_that_names_it(self, client: httpx.AsyncClient) -> None:
        assert "nope" in detail(await client.get("/event/nope"), 404)

    @pytest.mark.parametrize("part", ["01JYKZDPAN", "YXF5TQKRJS0F2", "01jykzdpan"])
    async def test_by_the_beginning_or_end_of_its_id(self, client: httpx.AsyncClient, part: str) -> None:
        event = await post(client, event_id=NODE)

        assert await get(client, f"/event/{part}", partial=True) == event

    async def test_part_of_an_id_is_taken_only_where_asked_for(self, client: httpx.AsyncClient) -> None:
        await post(client, event_id=NODE)

        assert (await client.get(f"/event/{NODE[:10]}")).status_code == 404

    async def test_part_of_several_ids_names_them(self, client: httpx.AsyncClient) -> None:
        for end in "ABC":
            await post(client, event_id=f"plate-run-{end}")

        said = detail(await client.get("/event/plate-run", params={"partial": "true"}), 409)

        assert all(f"plate-run-{end}" in said for end in "ABC")

    @pytest.mark.parametrize("whole", ["plate-run-1", "e1"])
    async def test_a_whole_id_is_one_though_others_begin_or_end_so(self, client: httpx.AsyncClient, whole: str) -> None:
        for event_id in (f"{whole}0", whole, f"old-{whole}"):
            await post(client, event_id=event_id)

        assert (await get(client, f"/event/{whole}", partial=True))["event_id"] == whole

    async def test_part_of_no_id(self, client: httpx.AsyncClient) -> None:
        assert "12345678" in detail(await client.get("/event/12345678", params={"partial": "1"}), 404)

    async def test_too_little_of_an_id(self, client: httpx.AsyncClient) -> None:
        assert "8 characters" in detail(await client.get("/event/1234567", params={"partial": "1"}), 422)


class TestNewest:
    async def test_newest_first_by_event_time(self, client: httpx.AsyncClient) -> None:
        second, third, first = await post_at(client, MORNING[1], MORNING[2], MORNING[0])

        assert list(await get(client, "/events")) == [third, second, first]

    async def test_number_and_offset(self, client: httpx.AsyncClient) -> None:
        ids = (await post_at(client, *MORNING))[::-1]

        assert list(await get(client, "/events", number=2)) == ids[:2]
        assert list(await get(client, "/events", number=2, offset=3)) == ids[3:5]
        assert list(await get(client, "/events", number=0, offset=5)) == ids[5:]
        assert await get(client, "/events", offset=7) == {}
        assert await get(client, "/events", offset=2**50) == {}

    async def test_zero_is_all(self, client: httpx.AsyncClient) -> None:
        await client.post("/events", json=[{"event_id": f"{n}"} for n in range(2500)])

        assert len(await get(client, "/events", number=0)) == 2500
        assert len(await get(client, "/events")) == 100
        assert len(await get(client, "/events", number=2400)) == 2400

    async def test_madscis_filters(self, client: httpx.AsyncClient) -> None:
        ids = await post_at(client, *MORNING, log_level=30)

        found = await get(client, "/events", level="WARNING", start_time=MORNING[2], end_time=MORNING[4])

        assert list(found) == [ids[4], ids[3], ids[2]]
        assert await get(client, "/events", level=40) == {}

    async def test_our_filters(self, client: httpx.AsyncClient) -> None:
        event = await post(client, "tip lost", source={"node_id": NODE, "host": "bench-3"})
        await post(client, "tip found")

        for filters in ({"node_id": NODE}, {"source.host": "bench-3"}, {"search": "lost"}, {"regex": "p l"}):
            assert list(await get(client, "/events", **filters)) == [event["event_id"]], filters

    async def test_a_node_is_found_by_the_name_its_id_was_seen_with(self, client: httpx.AsyncClient) -> None:
        named = await post(client, "ready", event_data={"node_id": NODE, "node_name": "liquidhandler_1"})
        nameless = await post(client, "moved", source={"node_id": NODE})

        found = await get(client, "/events", node="liquidhandler_1")

        assert set(found) == {named["event_id"], nameless["event_id"]}

    async def test_the_cursor_goes_on_whatever_comes_meanwhile(self, client: httpx.AsyncClient) -> None:
        ids = (await post_at(client, *MORNING))[::-1]
        first = await client.get("/events", params={"number": 3, "level": "info"})
        await post_at(client, "2027-01-01T00:00:00Z")

        second = await client.get(first.links["next"]["url"])
        third = await client.get("/events", params={"number": 3, "after": second.headers["x-next-cursor"]})

        assert [*first.json(), *second.json(), *third.json()] == ids
        assert "level=info" in first.links["next"]["url"]
        assert "x-next-cursor" not in third.headers
        assert "next" not in third.links

    async def test_a_type_madsci_does_not_know_does_not_break_its_clients(self, client: httpx.AsyncClient) -> None:
        event_id = (await post(client, "new", event_type="plate_sealed"))["event_id"]

        for event in (
            (await get(client, "/events"))[event_id],
            (await client.post("/events/query", json={})).json()[event_id],
        ):
            assert (event["event_type"], event["event_type_as_sent"]) == ("unknown", "plate_sealed")
        assert (await get(client, f"/event/{event_id}"))["event_type"] == "plate_sealed"
        [event] = (await client.post("/events/search", json={})).json()["events"]
        assert event["event_type"] == "plate_sealed"
        assert "event_type_as_sent" not in event

    async def test_what_a_sender_calls_as_we_call_the_type_as_sent_does_not_hide_it(
        self, client: httpx.AsyncClient
    ) -> None:
        event_id = (await post(client, "new", event_type="plate_sealed", event_type_as_sent="mine"))["event_id"]

        assert (await get(client, "/events"))[event_id]["event_type_as_sent"] == "plate_sealed"
        assert (await get(client, f"/event/{event_id}"))["event_type_as_sent"] == "mine"

    @pytest.mark.parametrize("event_id", ['quo"te', "back\\slash", '\\"', "é\\\\"])
    async def test_ids_that_json_escapes_are_keys_too(self, client: httpx.AsyncClient, event_id: str) -> None:
        event = await post(client, event_id=event_id)

        assert await get(client, "/events") == {event_id: event}

    async def test_the_selector_of_madscis_client_of_2025_is_explained(self, client: httpx.AsyncClient) -> None:
        assert "POST /events/query" in detail(await client.get("/events", params={"selector": "source"}), 422)


class TestBySelector:
    async def test_in_the_body(self, client: httpx.AsyncClient) -> None:
        event = await post(client, "x", source={"node_id": NODE})
        await post(client, "y")

        answer = await client.post("/events/query", json={"source": {"node_id": NODE}})

        assert answer.json() == {event["event_id"]: event}

    @pytest.mark.parametrize("write", [repr, json.dumps])
    async def test_in_the_query_string(self, client: httpx.AsyncClient, write: object) -> None:
        """As MADSci's client of 2026 sends it: the text Python makes of a dict."""
        event = await post(client, "x", source={"node_id": NODE}, alert=True)
        selector = {"source": {"node_id": NODE}, "alert": True, "trace_id": None}

        answer = await client.post("/events/query", params={"selector": write(selector)})  # type: ignore[operator]

        assert answer.json() == {event["event_id"]: event}

    async def test_all_of_them_archived_ones_too(self, client: httpx.AsyncClient) -> None:
        ids = await post_at(client, *MORNING)
        await client.post("/events/archive", json={"event_ids": ids[:2]})

        assert list((await client.post("/events/query", json={})).json()) == ids[::-1]

    async def test_a_page_of_them(self, client: httpx.AsyncClient) -> None:
        ids = (await post_at(client, *MORNING))[::-1]

        first = await client.post("/events/query", params={"number": 4}, json={"log_level": "INFO"})
        second = await client.post(first.links["next"]["url"], json={"log_level": "INFO"})

        assert [list(first.json()), list(second.json())] == [ids[:4], ids[4:]]


class TestSearch:
    async def test_a_page_and_the_next(self, client: httpx.AsyncClient) -> None:
        ids = await post_at(client, *MORNING)
        query = {"order": "time", "limit": 4, "level": "info"}

        first = (await client.post("/events/search", json=query)).json()
        second = (await client.post("/events/search", json={**query, "after": first["next"]})).json()

        assert [event["event_id"] for event in first["events"] + second["events"]] == ids
        assert (first["truncated"], second["truncated"], second["next"]) == (True, False, None)

    async def test_received_order(self, client: httpx.AsyncClient) -> None:
        ids = await post_at(client, MORNING[3], MORNING[1], MORNING[2])

        found = (await client.post("/events/search", json={"order": "received"})).json()

        assert [event["event_id"] for event in found["events"]] == ids


class TestArchive:
    async def test_every_id_not_the_first_batch(self, client: httpx.AsyncClient) -> None:
        ids = [f"e{n}" for n in range(2500)]
        await client.post("/events", json=[{"event_id": id_} for id_ in ids])

        answer = await client.post("/events/archive", json={"event_ids": ids[:2400], "batch_size": 1})

        assert answer.json()["archived_count"] == 2400
        assert len(await get(client, "/events", number=0)) == 100
        assert len(await get(client, "/events/archived", number=0)) == 2400

    async def test_before_a_time_in_the_labs_zone(self, client: httpx.AsyncClient) -> None:
        await post_at(client, "2026-11-23T11:59:59Z")
        kept = await post_at(client, "2026-11-23T12:00:00Z")

        answer = await client.post("/events/archive", json={"before_date": "2026-11-23T06:00:00"})

        assert answer.json()["archived_count"] == 1
        assert list(await get(client, "/events")) == kept

    async def test_ids_win_over_a_time(self, client: httpx.AsyncClient) -> None:
        first, second = await post_at(client, *MORNING[:2])

        await client.post("/events/archive", json={"event_ids": [first], "before_date": "2030-01-01"})

        assert list(await get(client, "/events")) == [second]

    async def test_the_last_archived_comes_first(self, client: httpx.AsyncClient) -> None:
        ids = await post_at(client, *MORNING[:3])
        for event_id in (ids[1], ids[2], ids[0]):
            await client.post("/events/archive", json={"event_ids": [event_id]})

        assert list(await get(client, "/events/archived")) == [ids[0], ids[2], ids[1]]
        assert list(await get(client, "/events/archived", number=1, offset=1)) == [ids[2]]

    async def test_purging_deletes_what_was_archived_long_enough_ago(self, client: httpx.AsyncClient) -> None:
        [gone, kept] = await post_at(client, *MORNING[:2])
        await client.post("/events/archive", json={"event_ids": [gone]})

        assert (await client.delete("/events/archived")).json()["deleted_count"] == 0
        preview = await client.delete("/events/archived", params={"older_than_days": 0, "dry_run": "true"})
        assert preview.json()["deleted_count"] == 1
        assert list(await get(client, "/events/archived")) == [gone]
        assert (await client.delete("/events/archived", params={"older_than_days": 0})).json()["deleted_count"] == 1
        assert (await client.get(f"/event/{gone}")).status_code == 404
        assert list(await get(client, "/events")) == [kept]
