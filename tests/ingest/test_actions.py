"""Agent steps from names: kinds, reach, precedence of rules, and names that no rule should be fooled by."""

from __future__ import annotations

import pytest
from shadowprice.errors import ConfigError
from shadowprice.ingest.actions import StepKind, plain_name, step_rules, step_values
from shadowprice.schemas.config import ActionRule, Config

DEFAULT = step_rules(Config())

READ = StepKind("read", "read", True)
PLAN = StepKind("plan", "read", True)
VERIFY = StepKind("verify", "read", True)
DELEGATE = StepKind("delegate")
DEFER = StepKind("defer")
COMMIT = StepKind("act", "commit")
FINAL = StepKind("act", "commit", False)
DEPLOY = StepKind("act", "deploy")
EDIT = StepKind("edit", "draft", True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get_reservation_details", READ),
        ("get_user_details", READ),
        ("search_direct_flight", READ),
        ("search_onestop_flight", READ),
        ("list_all_airports", READ),
        ("think", PLAN),
        ("calculate", PLAN),
        ("transfer_to_human_agents", DELEGATE),
        ("update_reservation_flights", COMMIT),
        ("update_reservation_baggages", COMMIT),
        ("update_reservation_passengers", COMMIT),
        ("book_reservation", COMMIT),
        ("cancel_reservation", FINAL),
        ("send_certificate", FINAL),
    ],
)
def test_the_tools_of_the_airline_benchmark_are_known(name: str, expected: StepKind) -> None:
    """Kills reading get_user_details as a question to the user, or a booking as a look-up."""
    assert DEFAULT.classify(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("read_file", READ),
        ("Grep", READ),
        ("check_weather", READ),
        ("check_answer", VERIFY),
        ("run_tests", VERIFY),
        ("pytest", VERIFY),
        ("lint", VERIFY),
        ("validate_order", VERIFY),
        ("review_diff", VERIFY),
        ("evaluate", VERIFY),
        ("str_replace_editor", EDIT),
        ("write_file", EDIT),
        ("MultiEdit", EDIT),
        ("TodoWrite", PLAN),
        ("ask_user", DEFER),
        ("confirm", DEFER),
        ("request_approval", DEFER),
        ("approve_refund", COMMIT),
        ("handoff_to_billing", DELEGATE),
        ("invoke_agent", DELEGATE),
        ("delegate", DELEGATE),
        ("bash", COMMIT),
        ("refund", FINAL),
        ("delete_account", FINAL),
        ("deploy_service", DEPLOY),
        ("git_push", DEPLOY),
        ("frobnicate", StepKind("act")),
        ("", StepKind("act")),
    ],
)
def test_common_tools_have_a_kind_and_a_reach(name: str, expected: StepKind) -> None:
    """Kills a reordering of the default rules that lets a broad one shadow a narrow one."""
    assert DEFAULT.classify(name) == expected


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("mcp__crm__sendEmail", "send_email"),
        ("functions.run-tests", "run_tests"),
        ("HTTPServer", "http_server"),
        ("get_user__details_", "details_"),
        ("tools/run shell", "run_shell"),
        ("__", "__"),
    ],
)
def test_a_plain_name_is_snake_case_without_its_server(name: str, plain: str) -> None:
    """Kills a prefix that hides the verb: mcp__crm__sendEmail sends, it does not 'mcp'."""
    assert plain_name(name) == plain


def test_a_users_rule_wins_over_the_default_and_the_first_over_the_second() -> None:
    """Kills reading the defaults first, and taking the last rule that matches."""
    rules = (
        ActionRule(match="get_.*_price", kind="verify", action_class="read"),
        ActionRule(match="get_.*", kind="act", action_class="deploy", reversible=False),
    )
    mine = step_rules(Config(rules=rules))
    assert mine.classify("get_list_price") == StepKind("verify", "read")
    assert mine.classify("GET_customer") == StepKind("act", "deploy", False)
    assert mine.classify("search_orders") == READ


def test_rules_match_the_whole_name() -> None:
    """Kills `match` or `search` instead of a whole match: 'sender' is not 'send'."""
    mine = step_rules(Config(rules=(ActionRule(match="send", kind="delegate"),)))
    assert mine.classify("sender_lookup").kind == "read"
    assert mine.classify("resend").kind == "act"


def test_an_expression_that_is_none_is_a_config_error_that_quotes_it() -> None:
    """Kills a raw re.error in the middle of an ingest."""
    with pytest.raises(ConfigError, match=r"'send_\(' is not a regular expression"):
        step_rules(Config(rules=(ActionRule(match="send_(", kind="act"),)))


def test_reading_editing_and_acting_share_the_point_act() -> None:
    """Kills a decision point per tool kind, which would leave nothing to compare."""
    assert step_values("read_file", DEFAULT)["decision_point"] == "act"
    assert step_values("edit_file", DEFAULT)["decision_point"] == "act"
    assert step_values("verify", DEFAULT) == {
        "layer": "agent",
        "decision_point": "verify",
        "action": "verify",
        "action_executed": "verify",
        "action_class": "read",
        "reversible": True,
    }


def test_a_name_of_unbounded_length_is_an_act_of_unknown_reach() -> None:
    """Kills matching expressions against text of any length that a log may hold."""
    assert DEFAULT.classify("get_" + "a" * 100_000) == StepKind("act")
