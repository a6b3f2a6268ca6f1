"""`relay-models compress`: status, train, apply and undo."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_store_is_compressed_and_made_plain_again(cli: Cli, capture_path: Path, tmp_path: Path) -> None:
    path = ("--path", str(tmp_path / "store.db"))
    cli("import", str(capture_path), *path)
    shown = cli("runs", "list", *path, "--json").json
    exported = cli("runs", "export", *path).lines
    assert "kept plain" in cli("compress", "status", *path).out
    refused = cli("compress", "train", *path)
    assert refused.code == 2
    assert "compress apply" in refused.err
    applied = cli("compress", "apply", *path, "--json").json
    assert applied["rewritten"] == 180
    trained = cli("compress", "train", *path, "--size", "8192", "--json").json
    assert trained["bytes"] == 8192
    applied = cli("compress", "apply", *path).out
    assert "compressed: 180 records" in applied
    status = cli("compress", "status", *path).out
    assert "runs: 180, compressed: 180" in status
    assert f"dictionary {trained['id']}: 8,192 bytes, 180 runs, current" in status
    assert cli("runs", "list", *path, "--json").json == shown
    assert cli("runs", "export", *path).lines == exported
    undone = cli("compress", "undo", *path, "--json").json
    assert undone["rewritten"] == 180
    assert cli("compress", "status", *path, "--json").json["compressed"] == 0
    assert cli("runs", "export", *path).lines == exported
