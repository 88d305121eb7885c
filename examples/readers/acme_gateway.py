"""A reader for a made-up gateway's log: one JSON object per call, times in ms, cached tokens inside `in`."""

from shadowprice import reader as r

NAME = "acme_gateway"
FIELDS = frozenset({"call", "ticket", "asked", "options", "when_ms"})


def sniff(head):
    """Whether this is such a log: by its fields, never by the name of the file."""
    return any(keys >= FIELDS for keys in r.top_keys(head))


def read(log, config):
    """The rows of every record; one without a field, or with a value that fits no column, is rejected."""
    del config
    return r.each_record(log, rows, required=FIELDS)


def rows(line, call):
    """A choice of the gateway's router, and the outcome of the ticket when someone wrote it down."""
    decision = {"decision_id": call["call"], "request_id": call["ticket"], "tenant_id": call.get("customer")}
    decision |= {"layer": "router", "decision_point": "model", "ts": r.utc_from_epoch(call["when_ms"], "ms")}
    decision |= {
        "action": call["asked"],
        "action_executed": call.get("served"),
        "candidates": call["options"],
    }
    if call.get("chance") is not None:  # drawn with this probability, which was fixed before the draw
        decision |= {"propensity": r.as_real(call["chance"], "chance"), "propensity_source": "logged"}
    decision |= {
        "latency_s": r.as_seconds(call.get("took_ms"), "ms"),
        "cost_usd": r.as_usd(call.get("usd"), "USD"),
    }
    decision |= r.input_tokens(call.get("in"), call.get("cached"), None, convention="inclusive")
    decision |= {"tok_output": r.as_count(call.get("out"), "out"), "x_difficulty": call.get("difficulty")}
    yield r.Row("decisions", line, decision)
    if call.get("solved") is not None:
        label = {"name": "solved", "value": r.as_real(call["solved"], "solved"), "source": "human"}
        yield r.Row("outcomes", line, {"request_id": call["ticket"], **label})
