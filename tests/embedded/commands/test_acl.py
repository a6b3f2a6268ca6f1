"""Users of the engine: what ACL rules allow is allowed, and all else is refused, from scripts and over TCP, too."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread


@pytest.fixture
def admin(server: EmbeddedServer) -> Any:
    return server.client(protocol=3, decode_responses=True)


def login(server: EmbeddedServer, admin: Any, *rules: str) -> Any:
    """A client of a new user with these rules."""
    admin.execute_command("ACL", "SETUSER", "guest", "reset", "on", ">secret", *rules)
    client = server.client(protocol=3, decode_responses=True)
    client.execute_command("AUTH", "guest", "secret")
    return client


RULES = (
    *("+get", "+mget", "+del", "+set", "+eval", "+zunionstore", "+blpop", "+xread", "+sort", "+copy", "+publish"),
    *("+subscribe", "+psubscribe", "+@json", "-json.clear", "+ft.search", "+config|get", "+object"),
    *("~own:*", "%R~shared:*", "&news:*"),
)


@pytest.mark.parametrize(
    "command",
    [
        "GET own:1",
        "GET shared:1",
        "SET own:1 x",
        "MGET own:1 shared:1",
        "DEL own:1 own:2",
        "JSON.SET own:j $ 1",
        "JSON.GET shared:j",
        "PUBLISH news:1 x",
        "CONFIG GET port",
        "FT.SEARCH inside x",
        "EVAL return(redis.call('get','own:1')) 0",
        "SORT own:list STORE own:sorted",
        "OBJECT ENCODING own:1",
        "AUTH guest secret",
    ],
)
def test_what_the_rules_allow(server: EmbeddedServer, admin: Any, command: str) -> None:
    admin.execute_command("FT.CREATE", "inside", "PREFIX", "1", "own:docs:", "SCHEMA", "t", "TEXT")
    login(server, admin, *RULES).execute_command(*command.split())
    assert admin.execute_command("ACL", "DRYRUN", "guest", *command.split()) == "OK"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("HGET own:1 f", "User guest has no permissions to run the 'hget' command"),
        ("CONFIG SET timeout 1", "'config|set' command"),
        ("JSON.CLEAR own:j", "'json.clear' command"),
        ("FT.DROPINDEX inside DD", "'ft.dropindex' command"),
        ("FLUSHALL", "'flushall' command"),
        ("ACL SETUSER guest allkeys", "'acl|setuser' command"),
        ("GET other:1", "No permissions to access a key"),
        ("MGET own:1 other:1", "access a key"),
        ("DEL own:1 other:1 own:2", "access a key"),
        ("SET shared:1 x", "access a key"),
        ("COPY own:1 shared:1", "access a key"),
        ("ZUNIONSTORE own:z 2 own:1 other:1", "access a key"),
        ("BLPOP own:1 other:1 1", "access a key"),
        ("XREAD COUNT 1 STREAMS own:1 other:1 0 0", "access a key"),
        ("SORT own:1 BY w_*", "access a key"),
        ("SORT own:1 STORE other:1", "access a key"),
        ("JSON.MGET own:1 other:1 $", "access a key"),
        ("JSON.MSET own:1 $ 1 other:1 $ 2", "access a key"),
        ("OBJECT ENCODING other:1", "access a key"),
        ("EVAL return(1) 1 other:1", "access a key"),
        ("EVAL return(redis.call('get','other:1')) 0", "access a key"),
        ("EVAL return(redis.call('flushall')) 0", "'flushall' command"),
        ("PUBLISH other x", "No permissions to access a channel"),
        ("SUBSCRIBE news:1 other", "access a channel"),
        ("PSUBSCRIBE news:?", "access a channel"),
        ("FT.SEARCH outside x", "User does not have the required permissions to query the index"),
    ],
)
def test_what_they_do_not_allow(server: EmbeddedServer, admin: Any, command: str, message: str) -> None:
    admin.execute_command("FT.CREATE", "inside", "PREFIX", "1", "own:docs:", "SCHEMA", "t", "TEXT")
    admin.execute_command("FT.CREATE", "outside", "PREFIX", "2", "own:docs:", "o", "SCHEMA", "t", "TEXT")
    client = login(server, admin, *RULES)
    with pytest.raises(redis.exceptions.NoPermissionError, match=message.replace("|", r"\|")):
        client.execute_command(*command.split())


def test_the_last_rule_about_a_command_decides(server: EmbeddedServer, admin: Any) -> None:
    client = login(server, admin, "allkeys", "+@all", "-@write", "+set", "-get")
    assert client.set("a", "1")
    for command in (client.get, client.delete):
        with pytest.raises(redis.exceptions.NoPermissionError):
            command("a")
    assert client.exists("a") == 1


def test_a_selector_allows_more(server: EmbeddedServer, admin: Any) -> None:
    client = login(server, admin, "~a", "+get", "(+set ~b)")
    assert client.get("a") is None
    assert client.set("b", "1")
    for name, *args in (("set", "a", "1"), ("get", "b")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(name, *args)
    told = admin.execute_command("ACL", "GETUSER", "guest")
    assert told["selectors"] == [{"commands": "-@all +set", "keys": "~b", "channels": ""}]


def test_a_new_user_has_no_permissions_and_cannot_log_in(admin: Any, server: EmbeddedServer) -> None:
    admin.execute_command("ACL", "SETUSER", "new", ">pw")
    with pytest.raises(redis.AuthenticationError):
        server.client().execute_command("AUTH", "new", "pw")
    admin.execute_command("ACL", "SETUSER", "new", "on")
    client = server.client()
    client.execute_command("AUTH", "new", "pw")
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.get("a")
    assert admin.execute_command("ACL", "GETUSER", "absent") is None
    assert admin.execute_command("ACL", "USERS") == ["default", "new"]


def test_rules_are_applied_all_or_not_at_all(admin: Any) -> None:
    for rules, message in (
        (["+get", "nonsense"], "modifier 'nonsense': Syntax error"),
        (["+get", "+nosuch"], "modifier '\\+nosuch': Unknown command or category name in ACL"),
        (["+get", "-@nosuch"], "Unknown command or category"),
        (["+get", "<absent"], "does not exist"),
    ):
        with pytest.raises(redis.ResponseError, match=message):
            admin.execute_command("ACL", "SETUSER", "new", *rules)
    assert admin.execute_command("ACL", "USERS") == ["default"]


def test_refusals_are_recorded(server: EmbeddedServer, admin: Any) -> None:
    client = login(server, admin, "~a", "+get")
    for key in ("b", "b"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get(key)
    [record] = admin.acl_log()
    assert [record["reason"], record["object"], record["username"], record["count"]] == ["key", "b", "guest", 2]


def test_a_deleted_user_is_gone_with_its_connections(server: EmbeddedServer, admin: Any) -> None:
    with serving_in_thread(server) as endpoint:
        admin.execute_command("ACL", "SETUSER", "guest", "on", ">pw", "+@all", "~*")
        client = redis.Redis.from_url(f"redis://guest:pw@127.0.0.1:{endpoint.port}", socket_timeout=20)
        assert client.ping()
        assert admin.execute_command("ACL", "DELUSER", "guest", "absent") == 1
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(redis.AuthenticationError):
            client.ping()
    with pytest.raises(redis.ResponseError, match="cannot be removed"):
        admin.execute_command("ACL", "DELUSER", "default")


def test_reset_ends_the_login(server: EmbeddedServer, admin: Any) -> None:
    """Else RESET would be a way from any user to the default one."""
    with serving_in_thread(server) as endpoint:
        admin.execute_command("ACL", "SETUSER", "guest", "on", ">pw", "+get", "~*")
        admin.execute_command("ACL", "SETUSER", "default", "resetpass", ">root")
        client = redis.Redis.from_url(f"redis://guest:pw@127.0.0.1:{endpoint.port}?protocol=2", socket_timeout=20)
        connection = client.connection_pool.get_connection()
        for command, expected in (("GET a", None), ("RESET", b"RESET"), ("AUTH root", b"OK"), ("FLUSHALL", b"OK")):
            if command.startswith("AUTH"):
                connection.send_command("GET", "a")
                with pytest.raises(redis.AuthenticationError, match="Authentication required"):
                    connection.read_response()
            connection.send_command(*command.split(), check_health=False)
            assert connection.read_response() == expected
        connection.disconnect()


def test_the_log_of_refusals_has_numbers(server: EmbeddedServer) -> None:
    with serving_in_thread(server) as endpoint, socket.create_connection((endpoint.host, endpoint.port)) as raw:
        raw.sendall(b"HELLO 3\r\naUTH nobody wrong\r\nACL LOG\r\nQUIT\r\n")
        reply = b""
        while data := raw.recv(65536):
            reply += data
    assert b"$5\r\ncount\r\n:1\r\n" in reply
    assert b"$6\r\nobject\r\n$4\r\naUTH\r\n" in reply
    assert b"$11\r\nage-seconds\r\n,0" in reply
    assert b"$8\r\nentry-id\r\n:1\r\n$17\r\ntimestamp-created\r\n:1" in reply
